"""The audits are audited: every planted defect falls to the smoke tier, everything else stays green in 20 seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from audits.code.eprocess import noise_eprocess
from audits.code.recomposition import recomposition
from audits.code.record_replay import record_replay
from audits.code.residuals import residual_calibration
from audits.code.toy import Toy
from audits.result import AuditInput, AuditResult, Verdict
from tests.audits.code.reference import COLUMNS, DEFECTS, NON_DEFECTS, Reference, claim, transcript

Given = Callable[..., AuditInput]
SEEDS = 20
CODE_ALPHA = 0.01


def smoke(given: Given, defect: str | None, neighbours: str, seed: int) -> Iterator[AuditResult]:
    mechanism = Reference(claim(0.2, 3, neighbours), defect, seed=seed)
    toy = Toy(COLUMNS, "person", 3)
    written = transcript(mechanism, toy.frame(toy.units(40, seed)))
    inp = given(mechanism, transcript=written, claim=mechanism.claim, seed=seed, alpha=CODE_ALPHA)
    for audit in (recomposition, record_replay, residual_calibration, noise_eprocess):
        yield audit(inp)


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_is_caught_by_the_smoke_tier(given: Given, defect: str) -> None:
    neighbours = "replace_one" if defect.startswith("replace_one") else "add_remove"
    assert any(result.verdict is Verdict.VIOLATION for result in smoke(given, defect, neighbours, 0))


@pytest.mark.statistical
@pytest.mark.parametrize("neighbours", ["add_remove", "replace_one"])
@pytest.mark.parametrize("defect", [None, *NON_DEFECTS])
def test_everything_else_stays_green(given: Given, defect: str | None, neighbours: str) -> None:
    for seed in range(SEEDS if defect is None and neighbours == "add_remove" else 3):
        for result in smoke(given, defect, neighbours, seed):
            assert result.verdict is Verdict.NOT_FALSIFIED, (seed, result.name, result.reason)
            assert result.detectable is not None
