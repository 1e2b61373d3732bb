"""Defects planted in the real kernel fall to the smoke-tier audits of a release; harmless changes do not.

A few of each here; ``make audit-audits`` runs them all.
"""

from __future__ import annotations

import pytest

from dpsynth.synthesizers import SYNTHESIZERS
from tests.mutants.defects import ALL, DEFECTS, HARMLESS, Change
from tests.mutants.matrix import BEGIN, END, PAGE, trials
from tests.mutants.releases import released

BY_NAME = {change.name: change for change in (*DEFECTS, *HARMLESS)}
CAUGHT_HERE = [
    ("selection noise halved", "adaptive"),
    ("one-ways uncharged", "adaptive"),
    ("person factor dropped", "adaptive"),
    ("true n used", "adaptive"),
    ("selection noise halved", "aim"),
    ("a training row sampled", "independent"),
    ("L2 sensitivity 1 under replace-one", "independent"),
]
GREEN_HERE = [("one-ways share equally", "independent"), ("public n under replace-one", "mst")]


def change(name: str) -> Change:
    return BY_NAME[name]


@pytest.mark.parametrize(("name", "mechanism"), CAUGHT_HERE)
def test_a_planted_defect_is_caught(name: str, mechanism: str) -> None:
    found = released(change(name), mechanism)

    assert "VIOLATION" in found.verdicts.values()


@pytest.mark.parametrize(("name", "mechanism"), GREEN_HERE)
def test_a_harmless_change_stays_green(name: str, mechanism: str) -> None:
    found = released(change(name), mechanism)

    assert found.green, found.verdicts


def test_every_synthesizer_gets_every_general_defect() -> None:
    assert set(ALL) == set(SYNTHESIZERS)
    assert len(BY_NAME) == len(DEFECTS) + len(HARMLESS)
    planted = {(c.name, mechanism) for c, mechanism, _, defect in trials(20) if defect}
    assert set(CAUGHT_HERE) <= planted


def test_the_page_has_a_place_for_the_matrix_and_no_defect_got_through() -> None:
    matrix = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]

    assert "**missed**" not in matrix
