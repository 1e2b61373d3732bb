"""``dpsynth audit-mechanism``: answers without a record, and says what it could have caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpsynth.privacy import noise
from tests.cli.conftest import Run
from tests.mutants.defects import DEFECTS

ASK = ("audit-mechanism", "independent", "--epsilon", "1", "--delta", "1e-6", "--tier", "smoke")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_sound_mechanism_passes_and_is_remembered(run: Run) -> None:
    first, again = run(*ASK, "--unit-rows", "3"), run(*ASK, "--unit-rows", "3", "--json")

    assert first.code == again.code == 0
    assert "NOT_FALSIFIED" in first.out and "at most 3 rows" in first.out and "one_way" in first.out
    assert again.json["cached"] is True and again.json["verdict"] == "NOT_FALSIFIED"
    assert set(again.json["results"]) == {"record_replay", "residual_calibration", "noise_eprocess"}
    assert again.json["configuration"]["claim"]["max_rows"] == 3


def test_a_broken_one_exits_1(run: Run) -> None:
    halved = next(change for change in DEFECTS if change.name == "stddev halved")
    original = noise.discrete_gaussian
    with halved.patch():
        found = run(*ASK, "--no-cache", "--json")

    assert noise.discrete_gaussian is original
    assert (found.code, found.json["verdict"]) == (1, "VIOLATION")


def test_it_plays_on_the_columns_of_a_schema(run: Run, schema: Path) -> None:
    found = run(*ASK, "--schema", schema, "--json")

    names = [field["name"] for field in found.json["configuration"]["columns"]["fields"]]
    assert found.code == 0 and {"age", "sex", "visits"} <= set(names)


def test_what_makes_no_sense_is_refused(run: Run, schema: Path) -> None:
    assert run("audit-mechanism", "nonesuch", "--epsilon", "1", "--delta", "1e-6").code == 2
    assert run(*ASK, "--unit-rows", "0").code == 2
    both = run(*ASK, "--schema", schema, "--unit-rows", "2")
    assert both.code == 2 and "--schema says" in both.err
