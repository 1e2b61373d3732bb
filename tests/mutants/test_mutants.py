"""Defects planted in the real kernel fall to the smoke-tier audits of a release; harmless changes do not.

A few of each here; ``make audit-audits`` runs them all.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress

import pytest

from audits import AuditResult
from audits.code.toy import Toy
from dpsynth.errors import DpsynthError
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.synthesizers import SYNTHESIZERS
from dpsynth.toy_mechanism import ToyMechanism
from dpsynth.toy_schema import standard_schema
from tests.chance import kernel_noise, none_falsified
from tests.mutants.defects import ALL, DEFECTS, HARMLESS, Change
from tests.mutants.matrix import AUDITS, BEGIN, END, PAGE, trials
from tests.mutants.releases import released

BY_NAME = {change.name: change for change in (*DEFECTS, *HARMLESS)}
CAUGHT_HERE = [
    ("selection noise halved", "adaptive"),
    ("one-ways uncharged", "adaptive"),
    ("later draws uncharged", "adaptive"),
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
    # In a selection the defect shows as far as the candidates lie apart, which the noise decides: two of 130 runs of `aim` found it barely.
    with kernel_noise(0) if name == "selection noise halved" else nullcontext():
        found = released(change(name), mechanism)

    assert "VIOLATION" in found.verdicts.values()


@pytest.mark.parametrize(("name", "mechanism"), GREEN_HERE)
def test_a_harmless_change_stays_green(name: str, mechanism: str) -> None:
    def answers() -> list[AuditResult]:
        found = released(change(name), mechanism)
        assert found.refused_by_kernel is None
        return list(found.results.values())

    assert len(none_falsified(answers)) == len(AUDITS)


def test_every_synthesizer_gets_every_general_defect() -> None:
    assert set(ALL) == set(SYNTHESIZERS)
    assert len(BY_NAME) == len(DEFECTS) + len(HARMLESS)
    planted = {(c.name, mechanism) for c, mechanism, _, defect in trials(20) if defect}
    assert set(CAUGHT_HERE) <= planted


def test_the_page_has_a_place_for_the_matrix_and_no_defect_got_through() -> None:
    matrix = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]

    assert "**missed**" not in matrix


@pytest.mark.parametrize("planted", [*DEFECTS, *HARMLESS], ids=lambda planted: planted.name)
def test_a_change_fits_the_code_in_which_it_is_planted(planted: Change) -> None:
    """A patch of what has been moved or has new arguments would raise something else, and be caught for the wrong reason."""
    schema = standard_schema("person", planted.max_rows, planted.neighbours)
    plain = ToyMechanism(SYNTHESIZERS[planted.mechanisms[0]](), PrivacyBudget(1.0, 1e-6), schema)
    toy = Toy(tuple(plain.columns), plain.unit_field, planted.max_rows)
    # NaN is what one of them raises on; a refusal by the kernel is what others are for.
    with planted.patch(), suppress(DpsynthError, ValueError):
        PrivateData.read(plain._written(toy.frame(toy.units(20, 0))), schema, PrivacyBudget(1.0, 1e-6))
