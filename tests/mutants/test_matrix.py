"""What makes the matrix pass: every defect caught, nothing left unjudged, no more alarms than alpha allows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mutants.defects import DEFECTS, HARMLESS, WITH_SELECTION
from tests.mutants.matrix import AUDITS, passed, table, trials


def row(change: str, mechanism: str, verdict: str, *, defect: bool) -> dict[str, Any]:
    wanted = "VIOLATION" if defect else "NOT_FALSIFIED"
    verdicts = {**dict.fromkeys(AUDITS, "NOT_FALSIFIED"), "record_replay": verdict}
    return {
        "change": change, "mechanism": mechanism, "seed": 0, "defect": defect, "good": verdict == wanted, "verdicts": verdicts,
        "seconds": 1.0 if verdict == "VIOLATION" else None, "kernel": None,
    }  # fmt: skip


CAUGHT = row(DEFECTS[0].name, "mst", "VIOLATION", defect=True)
GREEN = row(HARMLESS[0].name, "mst", "NOT_FALSIFIED", defect=False)
ALARM = row(HARMLESS[0].name, "mst", "VIOLATION", defect=False)


@pytest.mark.parametrize(
    ("rows", "good"),
    [
        ([CAUGHT] + [GREEN] * 20, True),
        ([row(DEFECTS[0].name, "mst", "NOT_FALSIFIED", defect=True)] + [GREEN] * 20, False),
        ([CAUGHT] + [GREEN] * 19 + [row(HARMLESS[0].name, "mst", "INCONCLUSIVE", defect=False)], False),
        ([CAUGHT] + [GREEN] * 19 + [ALARM], True),  # one of twenty at alpha 0.01 is chance
        ([CAUGHT] + [GREEN] * 16 + [ALARM] * 4, False),
    ],
)
def test_what_passes(rows: list[dict[str, Any]], good: bool) -> None:
    assert passed(rows) is good


def test_every_harmless_change_is_tried_as_often_as_asked_on_mechanisms_that_select() -> None:
    tried = [(change.name, mechanism) for change, mechanism, _, defect in trials(20) if not defect]
    for change in HARMLESS:
        mine = [mechanism for name, mechanism in tried if name == change.name]
        assert sum(mechanism in WITH_SELECTION for mechanism in mine) == 20
        assert set(mine) == {*WITH_SELECTION, "independent"}


def test_the_table_says_who_caught_what_and_how_many_alarms_there_were() -> None:
    shown = table([CAUGHT, *[GREEN] * 19, ALARM])

    assert f"| {DEFECTS[0].name} | mst | – | **all** | – | – | 1.0 |" in shown
    assert f"| {HARMLESS[0].name}: {HARMLESS[0].what} | 20 | 19 | " in shown
    assert "1 of 20 runs" in shown
