"""The toy run of a mechanism goes through what a large release would: an audit sees no code that did not run."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from audits.code.toy import Toy
from dpsynth.code_audits import toy_for
from dpsynth.privacy import PrivacyBudget
from dpsynth.privacy.noise import SeededNoise
from dpsynth.synthesizers import Adaptive
from dpsynth.toy_schema import standard_schema


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_adaptive_draws_more_than_one_pair_and_scores_all_of_them(epsilon: float) -> None:
    """With the few units of a toy the mechanism's own rule is one draw: a defect in the next would not be seen."""
    mechanism = toy_for(Adaptive(), standard_schema("person", 3, "add_remove"), PrivacyBudget(epsilon, 1e-6))
    toy = Toy(tuple(mechanism.columns), mechanism.unit_field, 3)
    stages: Counter[str] = Counter()
    draws = []
    for seed in range(4):
        made = mechanism(toy.frame(toy.units(30, seed)), SeededNoise(seed))
        events = Counter(event["stage"] for event in json.loads(made["transcript"])["events"])
        draws.append(events["draw_pair"])
        stages += events

    assert max(draws) >= 3
    assert stages["score_pairs"] > 0
    assert stages["two_way"] > 0
