"""One real release of a table with every type of column, in whose real rows stand words and numbers that nothing public may repeat."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from dpsynth import certificate, pipeline
from dpsynth.companions import About
from dpsynth.schema import Schema
from tests.chance import kernel_noise

# In real cells: beyond the bounds, outside the categories, in the key, in a column that the schema does not name. Long enough that no
# digest and no made-up number holds one by chance.
CANARIES = ("77345.125", "Zebulon-Qx77", "KEY-90210-Zq", "undeclared-Vw3", "1887-03-05", "867530986753")
ROWS = 613  # of the real table

SCHEMA: dict[str, Any] = {
    "title": "Visits | *of* <b>a</b> clinic",
    "description": "A table of nobody.",
    "dp:dataset": {"id": "visits", "population": "patients of a made-up clinic", "populationBound": 5000},
    "dp:unit": {"name": "patient", "field": "key", "maxRows": 2},
    "dp:rows": 300,
    "dp:constraints": [{"kind": "forbidden", "when": {"age": {"exclusiveMaximum": 15}, "smoker": True}}],
    "fields": [
        {"name": "key", "type": "string", "dp:role": "identifier"},
        {"name": "full name", "type": "string", "dp:role": "identifier", "dp:fake": "name"},
        {"name": "age", "type": "integer", "title": "Age", "constraints": {"minimum": 0, "maximum": 90}, "dp:role": "quasi"},
        {"name": "visits", "type": "integer", "constraints": {"minimum": 0, "maximum": 30}, "dp:nullable": True, "dp:role": "sensitive"},
        {"name": "weight", "type": "number", "constraints": {"minimum": 2, "maximum": 200}, "dp:nullable": True},
        {"name": "smoker", "type": "boolean", "dp:role": "sensitive"},
        {"name": 'höhe, "quoted"', "type": "string", "categories": ["tief", "hoch, sehr"], "dp:role": "quasi", "dp:group": True},
        {
            "name": "ward",
            "type": "string",
            "categories": [{"value": "a", "label": "Acute"}, {"value": "b", "label": "Basic"}],
            "dp:other": "b",
            "dp:role": "quasi",
        },
        {"name": "admitted", "type": "date", "constraints": {"minimum": "2020-01-01", "maximum": "2024-12-31"}},
        {
            "name": "seen",
            "type": "datetime",
            "constraints": {"minimum": "2020-01-01T00:00:00", "maximum": "2020-12-31T00:00:00"},
            "dp:nullable": True,
        },
    ],
}

POLICY: dict[str, Any] = {
    "$schema": "dpsynth.policy/1",
    "policy": "companions",
    "version": "1.0.0",
    "title": "for a test",
    "rules": [
        {
            "id": "AUD-901",
            "title": "Membership",
            "metric": "audits.results.membership",
            "op": "<=",
            "value": 0.99,
            "severity": "minor",
            "on_missing": "warn",
            "on_indeterminate": "warn",
            "source": {"kind": "house", "text": "a test"},
        }
    ],
}

ABOUT = About(
    publisher=("Institute of | Tests", "Second House"),
    contact="data@example.org",
    region="Nowhere",
    sector="Healthcare",
    licence="https://creativecommons.org/licenses/by/4.0/",
    url="https://example.org/visits",
    citation="Institute of Tests, 2026",
    answers={"motivation.funding": "Nobody <paid>.", "composition.instances": "A visit."},
)


class Released(NamedTuple):
    """A bundle and what its documents are made from."""

    root: Path
    schema: dict[str, Any]
    evidence: dict[str, Any]
    decision: dict[str, Any]
    said: dict[str, Any]

    @property
    def public(self) -> Path:
        return self.root / "public"

    @property
    def internal(self) -> Path:
        return self.root / "internal"


def real_rows(seed: int = 0) -> dict[str, list[Any]]:
    """Columns of the real table; the first rows carry the canaries."""
    rng = np.random.default_rng(seed)
    day = date(2020, 1, 1)
    moment = datetime(2020, 1, 1)
    columns: dict[str, list[Any]] = {
        "key": [f"p{i // 2}" for i in range(ROWS)],
        "full name": [f"Real Person {i}" for i in range(ROWS)],
        "age": [str(v) for v in rng.integers(0, 91, ROWS)],
        "visits": [str(v) if v < 28 else "" for v in rng.integers(0, 30, ROWS)],
        "weight": [f"{v:.1f}" if v > 30 else "" for v in rng.normal(70, 20, ROWS)],
        "smoker": list(rng.choice(["true", "false"], ROWS)),
        'höhe, "quoted"': list(rng.choice(["tief", "hoch, sehr"], ROWS)),
        "ward": list(rng.choice(["a", "b"], ROWS)),
        "admitted": [str(day + timedelta(days=int(v))) for v in rng.integers(0, 1500, ROWS)],
        "seen": [(moment + timedelta(hours=int(v))).isoformat() if v < 8000 else "" for v in rng.integers(0, 8700, ROWS)],
        "undeclared": ["x"] * ROWS,
    }
    for column, canary in (
        ("weight", "77345.125"),
        ("age", "867530986753"),
        ("ward", "Zebulon-Qx77"),
        ("key", "KEY-90210-Zq"),
        ("full name", "Zebulon-Qx77"),
        ("undeclared", "undeclared-Vw3"),
        ("admitted", "1887-03-05"),
    ):
        for row in range(5):
            columns[column][row] = canary
    return columns


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    """The table as a file."""
    import csv

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def run_release(folder: Path, table: Path, **more: Any) -> pipeline.ReleaseOutcome:
    """``table`` under ``policy.json`` of ``folder``, into its ``bundle``."""
    return pipeline.release(
        table,
        schema=Schema.from_dict(SCHEMA),
        policy=folder / "policy.json",
        out=folder / "bundle",
        epsilon=2.0,
        delta=1e-6,
        synthesizer="independent",
        tier="smoke",
        **more,
    )


def release(folder: Path, about: About | None) -> Released:
    """Release the table into ``folder`` / bundle."""
    table = write_csv(folder / "real.csv", real_rows())
    (folder / "policy.json").write_text(json.dumps(POLICY), encoding="utf-8")
    schema = Schema.from_dict(SCHEMA)
    # An alarm of the code audits, once in two hundred runs, would refuse the release that all these tests read.
    with kernel_noise(0):
        run_release(folder, table, seed=0, ledger=folder / "ledger", about=about)
    root = folder / "bundle"
    evidence = json.loads((root / "internal" / "evidence.json").read_text(encoding="utf-8"))
    decision = json.loads((root / "internal" / "decision.json").read_text(encoding="utf-8"))
    return Released(root, schema.to_dict(), evidence, decision, dict(certificate.read(root)["predicate"]))


@pytest.fixture(scope="session")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Released:
    """A release whose publisher said nothing."""
    return release(tmp_path_factory.mktemp("silent"), None)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Released:
    """A release whose publisher said everything."""
    return release(tmp_path_factory.mktemp("spoken"), ABOUT)
