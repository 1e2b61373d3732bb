"""Every number of a shipped policy has a source: the limits of rules by the rule, the terms by ``sources``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import policies
from policies.metrics import to_number

HOUSE = {"kind": "house", "text": "decided by the board"}


def _policy(**changes: Any) -> dict[str, Any]:
    pin = f"base@{policies.load('base').version}#{policies.load('base').digest}"
    return {"$schema": "dpsynth.policy/1", "policy": "mine", "version": "1.0.0", "title": "mine", "extends": [pin], "rules": [], **changes}


@pytest.mark.parametrize("name", [*policies.names(), "core"])
def test_every_number_of_a_shipped_policy_has_a_source(name: str) -> None:
    policy = policies.load(name)
    terms = {
        f"{section}.{term}": value for section in ("budget", "defaults", "waivers") for term, value in policy.document[section].items()
    }
    numbers = {key for key, value in terms.items() if to_number(value) is not None}
    assert numbers
    assert numbers <= set(policy.sources)
    assert set(policy.sources) <= set(terms)
    for rule in policy.rules:
        assert rule.source.text and rule.source.kind in ("law", "guidance", "practice", "house")
    assert not [advice for advice in policies.lint(policy) if "source" in advice.message]


def test_a_term_that_an_overlay_changes_loses_the_source_of_the_old_number() -> None:
    changed = policies.loads(_policy(budget={"lifetime_epsilon": 6.0}))
    assert "budget.lifetime_epsilon" not in changed.sources
    assert changed.sources["budget.max_attempts"] == policies.load("base").sources["budget.max_attempts"]
    assert any("budget.lifetime_epsilon = 6.0 has no source" in advice.message for advice in policies.lint(changed))
    told = policies.loads(_policy(budget={"lifetime_epsilon": 6.0}, sources={"budget.lifetime_epsilon": HOUSE}))
    assert told.sources["budget.lifetime_epsilon"].text == "decided by the board"
    assert "decided by the board (house)" in policies.explain(told, "BUD-002")
    assert not policies.lint(told)


def test_sources_survive_the_effective_policy(tmp_path: Path) -> None:
    policy = policies.loads(_policy(waivers={"max_days": 30}, sources={"waivers.max_days": HOUSE}))
    path = tmp_path / "effective.json"
    path.write_text(json.dumps(policies.effective(policy)), encoding="utf-8")
    again = policies.load(path)
    assert (again.digest, again.sources) == (policy.digest, policy.sources)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"budget.lifetime_epsilom": HOUSE}, "at /sources/budget.lifetime_epsilom: the policy does not set it"),
        ({"rules.DP-001": HOUSE}, "at /sources"),
        ({"budget.max_attempts": {"kind": "rumour", "text": "x"}}, "at /sources/budget.max_attempts/kind"),
        ({"budget.max_attempts": "the board"}, "at /sources/budget.max_attempts"),
        ([], "at /sources"),
    ],
)
def test_a_source_of_nothing_or_of_a_wrong_kind_is_refused(sources: Any, message: str) -> None:
    with pytest.raises(policies.PolicyError, match=message):
        policies.loads(_policy(sources=sources))
