"""A small table, its schema, and the command line as a function."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from audits.code import eprocess, likelihood
from dpsynth.cli import main
from tests.chance import kernel_noise

# Stands in every column that takes it; it must appear nowhere a command writes or prints.
CANARY = "Zebulon-Qx77"


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)  # type: ignore[no-any-return]


Run = Callable[..., Result]


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """A command's noise from ``seed``, and as much of it on a busy machine: no audit stops by the clock.

    Verdicts have a level, so they are wrong now and then; here is tested what follows from a verdict.
    """
    with pytest.MonkeyPatch.context() as patch, kernel_noise(seed):
        patch.setattr(eprocess, "_TIERS", {"smoke": (4, math.inf, 8, 2), "standard": (8, math.inf, 4, 3)})
        patch.setattr(likelihood, "_TIERS", {"standard": (20, math.inf, 8)})
        yield


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("CI", raising=False)  # a build server that runs the tests is not the one under test

    numbers = itertools.count()

    def invoke(*arguments: object) -> Result:
        capsys.readouterr()
        with repeatable(next(numbers)):
            code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return invoke


def spoken(arguments: list[str]) -> Result:
    """The same where no test's own capture is at hand."""
    with repeatable(0), redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = main(arguments)
    return Result(code, out.getvalue(), err.getvalue())


def schema_document(**changes: Any) -> dict[str, Any]:
    """A schema of one row per person; ``changes`` replace top-level keys."""
    return {
        "fields": [
            {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 90}, "dp:role": "quasi"},
            {"name": "sex", "type": "string", "categories": ["f", "m"], "dp:role": "quasi", "dp:group": True},
            {"name": "visits", "type": "integer", "constraints": {"minimum": 0, "maximum": 50}, "dp:role": "sensitive"},
        ],
        "dp:dataset": {"id": "visits-2026", "population": "clinic-patients"},
        "dp:unit": {"name": "person"},
        "dp:rows": 500,
        **changes,
    }


def table_text(rows: int, seed: int, separator: str = ",") -> str:
    """Rows of that table; one cell of each column is the canary."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 95, rows)
    sex = rng.choice(["f", "m"], rows)
    visits = np.minimum(50, rng.poisson(2 + age / 30))
    lines = [["age", "sex", "visits"], *([str(a), str(s), str(v)] for a, s, v in zip(age, sex, visits, strict=True))]
    for column in range(3):
        if column + 1 < len(lines):
            lines[column + 1][column] = CANARY
    return "".join(separator.join(line) + "\n" for line in lines)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "visits.csv"
    path.write_text(table_text(500, seed=0), encoding="utf-8")
    return path


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "visits.schema.json"
    path.write_text(json.dumps(schema_document()), encoding="utf-8")
    return path


def write_policy(folder: Path, name: str, limit: float) -> Path:
    """A policy of one rule, TST-001: epsilon at most ``limit``."""
    rule = {
        "id": "TST-001",
        "title": "Epsilon",
        "metric": "dp.epsilon",
        "op": "<=",
        "value": limit,
        "severity": "blocker",
        "source": {"kind": "house", "text": "a test"},
    }
    document = {"$schema": "dpsynth.policy/1", "policy": name, "version": "1.0.0", "title": name, "rules": [rule]}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, its schema, and a lenient and a strict policy."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "visits.csv").write_text(table_text(600, seed=0), encoding="utf-8")
    (folder / "visits.schema.json").write_text(json.dumps(schema_document()), encoding="utf-8")
    write_policy(folder, "lenient", 5.0)
    write_policy(folder, "strict", 0.5)
    return folder
