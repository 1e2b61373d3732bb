"""``dpsynth plan`` reads no record and charges nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dpsynth.encode import Encoder
from tests.cli.conftest import Run, schema_document, table_text

PRICE = ("--delta", "1e-6")


@pytest.fixture
def schema_file(tmp_path: Path) -> Path:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(schema_document(**{"dp:rows": 20_000})), encoding="utf-8")
    return path


def test_no_record_is_read(run: Run, tmp_path: Path, schema_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a record was read")

    monkeypatch.setattr(Encoder, "encode", never)
    data = tmp_path / "visits.csv"
    # What follows the header is not even text.
    data.write_bytes(table_text(5, 0).splitlines()[0].encode() + b",note\n\xff\xfe\n")

    done = run("plan", data, "--schema", schema_file, "--epsilon", "1", *PRICE)

    assert done.code == 0, done.err
    assert "1 columns of the table are not in the schema" in done.out
    assert "NO RECORD WAS READ" in done.out


def test_the_same_plan_with_and_without_the_table(run: Run, tmp_path: Path, schema_file: Path) -> None:
    data = tmp_path / "visits.csv"
    data.write_text(table_text(300, 0), encoding="utf-8")

    with_data = run("plan", data, "--schema", schema_file, "--epsilon", "1", *PRICE, "--json")
    without = run("plan", "--schema", schema_file, "--epsilon", "1", *PRICE, "--json")

    assert with_data.json == without.json


def test_the_ledger_is_asked_and_not_charged(run: Run, tmp_path: Path, schema_file: Path) -> None:
    ledger = tmp_path / "l.ledger"
    cap = ("--population", "clinic-patients", "--unit", "person", "--epsilon", "100", "--delta", "1e-3")
    run("ledger", "set-cap", "--ledger", ledger, *cap)
    before = ledger.read_bytes()
    common = ("--schema", schema_file, *PRICE, "--policy", "demo-health", "--ledger", ledger, "--json")
    fine, dear = run("plan", "--epsilon", "1", *common), run("plan", "--epsilon", "21", *common)

    def status(result: Any, rule: str) -> str:
        return next(o["status"] for o in result.json["rules"]["outcomes"] if o["rule"] == rule)

    assert (status(fine, "BUD-002"), status(dear, "BUD-002")) == ("pass", "fail")
    assert ledger.read_bytes() == before


def test_what_people_see(run: Run, schema_file: Path) -> None:
    schema_file.write_text(schema_file.read_text(encoding="utf-8").replace('"maximum": 90', '"maximum": 100'), encoding="utf-8")
    shown = run("plan", "--schema", schema_file, "--target-error", "0.02", *PRICE, "--policy", "demo-health").out

    for word in (
        "the smallest epsilon with a mean one-way error of at most 0.02",
        "independent",
        "adaptive",
        "visits",
        "SCH-203",
        "in all pairs",
    ):
        assert word in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either epsilon or target_error"),
        (("--epsilon", "-1"), "epsilon=-1.0 must be > 0"),
        (("--epsilon", "1", "--synthesizer", "gan"), "synthesizer='gan' must be one of auto"),
        (("--target-error", "2"), "target_error=2.0 must be > 0 and < 1"),
    ],
)
def test_mistakes(run: Run, schema_file: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run("plan", "--schema", schema_file, *PRICE, *arguments)

    assert done.code == 2
    assert message in done.err
