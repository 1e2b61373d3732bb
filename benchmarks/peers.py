"""``python -m benchmarks.peers``: other libraries on the same tables, budget and scoring, each in an environment of its own.

Their privacy is not checked here: they leave no transcript to recompose.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.page import write_page
from benchmarks.records import Records, source_digest
from benchmarks.run import add_table_options, chosen_tables
from benchmarks.scoring import marginal_error
from benchmarks.tables import Benchmark, coded
from benchmarks.trial import DELTA
from benchmarks.usage import measure

_SCRIPTS = Path(__file__).with_name("peer_scripts")


@dataclass(frozen=True)
class Peer:
    """A library: what pip installs (without dependencies where ``complete``), and the script that runs its ``mechanisms``."""

    requirements: tuple[str, ...]
    script: str
    mechanisms: tuple[str, ...]
    complete: bool = False


# Its declared dependencies without torch and what only torch needs: several gigabytes that MST and AIM never import.
_SMARTNOISE = (
    *("smartnoise-synth==1.0.8", "smartnoise-sql==1.0.10", "mbi==1.1.0", "opendp==0.14.2", "pac-synth==0.0.8"),
    *("numpy==2.4.6", "pandas==2.3.3", "scipy==1.17.1", "jax==0.10.2", "jaxlib==0.10.2", "chex==0.1.92", "optax==0.2.8"),
    *("absl-py", "antlr4-python3-runtime==4.9.3", "attrs", "Deprecated", "disjoint-set==0.9.0", "Faker", "graphviz", "ml_dtypes"),
    *("networkx", "opt_einsum", "python-dateutil", "pytz", "PyYAML", "setuptools", "six", "SQLAlchemy", "toolz", "typing_extensions"),
    *("tzdata", "wrapt"),
)

PEERS: dict[str, Peer] = {
    "dpmm 0.1.9": Peer(("dpmm==0.1.9",), "dpmm_models.py", ("mst", "aim")),
    "smartnoise-synth 1.0.8": Peer(_SMARTNOISE, "snsynth_models.py", ("mst", "aim"), complete=True),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Install what is missing, run what was not run yet, rewrite the page's figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    add_table_options(parser)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--environments", type=Path, help="folder of the environments; default: in --out")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--mechanisms", nargs="*", default=["mst", "aim"])
    parser.add_argument("--epsilons", nargs="*", type=float, default=[1.0])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds after which a run is given up")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.peers:
        peer = PEERS[name]
        python = environment(name, peer, options.environments or options.out / "peers")
        records = Records(options.out / "peers.jsonl", name)
        for repeat in range(options.repeats):
            for table in chosen_tables(options):
                for epsilon in options.epsilons:
                    for mechanism in (m for m in peer.mechanisms if m in options.mechanisms):
                        key = {
                            "section": "peer",
                            "data": table.name,
                            "variant": f"{name} {mechanism}",
                            "epsilon": epsilon,
                            "repeat": repeat,
                        }
                        run = _Run(python, _SCRIPTS / peer.script, mechanism, table, epsilon, options.limit)
                        print(json.dumps(records.once(key, run)), flush=True)
    write_page(Records(options.out / "runs.jsonl", source_digest()), options.out, options.page)
    return 0


@dataclass(frozen=True)
class _Run:
    python: Path
    script: Path
    mechanism: str
    table: Benchmark
    epsilon: float
    limit: float

    def __call__(self) -> Mapping[str, Any]:
        """Error and resources, or why there are none: a peer that fails or is too slow is a finding, not an error of the benchmark."""
        real = self.table.table
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            csv, domain, out = folder / "real.csv", folder / "domain.json", folder / "synthetic.csv"
            pd.DataFrame(dict(real.columns)).to_csv(csv, index=False)
            domain.write_text(json.dumps({a.name: {"size": a.size, "ordered": a.ordered} for a in real.domain}), encoding="utf-8")
            arguments = [self.mechanism, str(csv), str(domain), repr(self.epsilon), repr(DELTA), str(out)]
            used = measure([str(self.python), str(self.script), *arguments], self.limit)
            facts = {"wall": used.wall, "cpu": used.cpu, "peak_mb": used.peak_mb, "load": os.getloadavg()[1]}
            if used.code != 0:
                last = used.stderr.strip().splitlines()[-1:] or [f"exit code {used.code}"]
                return {**facts, "failure": f"given up after {self.limit:g} s" if used.code == -9 else last[0][:200]}
            synthetic = coded(pd.read_csv(out), real.domain)
        return {**facts, "e2": marginal_error(real, synthetic, 2), "e3": marginal_error(real, synthetic, 3)}


def environment(name: str, peer: Peer, folder: Path) -> Path:
    """The Python of the peer's environment, made on first use."""
    place = folder.absolute() / name.replace(" ", "-")
    python, ready = place / "bin" / "python", place / ".ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        options = ["--quiet", "--disable-pip-version-check", *(["--no-deps"] if peer.complete else [])]
        subprocess.run([str(python), "-m", "pip", "install", *options, *peer.requirements], check=True)
        ready.touch()
    return python


if __name__ == "__main__":
    sys.exit(main())
