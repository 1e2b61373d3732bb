"""Every case file decides as written, and the runner notices when one does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import policies

FILES = sorted(path for path in (Path(__file__).parent / "cases").glob("*.json") if path.name != "evidence-good.json")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_policy_decides_every_case_as_written(path: Path) -> None:
    results = policies.run_cases(path)
    assert results
    assert [(result.description, result.problems) for result in results if not result.passed] == []


def test_every_shipped_policy_has_a_case_file() -> None:
    assert {path.stem for path in FILES} >= {"core", *policies.names()}


def test_every_rule_of_every_shipped_policy_is_kept_from_passing_by_some_case() -> None:
    # A rule that no case ever bends is a rule nobody has seen at work. Figures that are only shown do not judge.
    bent = set()
    for path in FILES:
        for case in json.loads(path.read_text())["cases"]:
            bent |= {rule for rule, status in case.get("findings", {}).items() if status not in ("pass", "info")}
    rules = {rule.id for name in policies.names() for rule in policies.load(name).rules if rule.op != "report_only"}
    untested = rules - bent
    # The verdict rules of audits share one mechanism with AUD-010 to AUD-015, which are bent in base.json.
    assert untested == {"AUD-104", "AUD-105", "AUD-106", "AUD-203", "AUD-212", "AUD-213"}


def _file(folder: Path, **changes: object) -> Path:
    case = {"description": "a case", "verdict": "permitted"}
    document = {
        "$schema": "dpsynth.policy-case/1",
        "description": "a file",
        "policy": "base",
        "evidence": {},
        "cases": [case | {key: value for key, value in changes.items() if key not in ("policy", "evidence", "cases")}],
    } | {key: value for key, value in changes.items() if key in ("policy", "evidence", "cases")}
    path = folder / "case.json"
    path.write_text(json.dumps(document))
    return path


def test_a_case_that_is_decided_otherwise_is_reported_with_what_kept_the_release_back(tmp_path: Path) -> None:
    (result,) = policies.run_cases(_file(tmp_path, findings={"DP-001": "pass", "XX-999": "pass"}))
    assert not result.passed
    assert result.problems[0].startswith("verdict is indeterminate, not permitted; kept back by CORE-000, ")
    assert result.problems[1:] == ("DP-001 is indeterminate, not pass", "XX-999 is not a rule of the policy, not pass")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cases": []}, "at /cases"),
        ({"cases": [{"description": "expects nothing"}]}, "at /cases/0"),
        ({"policy": "no-such-policy"}, "is not shipped"),
        ({"policy": "no-such-policy.json"}, "is not a file"),
        ({"evidence": "nowhere.json"}, "is not a file"),
        ({"unset": ["dp.epsilon"]}, "unset 'dp.epsilon' names nothing"),
        ({"set": {"dp": 1, "dp.epsilon": 1}}, "goes through something that is not an object"),
        ({"now": "soon"}, "is not a date and time"),
        ({"now": "2026-11-22T12:00:00"}, "has no time zone"),
        ({"waivers": [{"id": "W"}]}, "at /waivers/0: 'approved_by' is a required property"),
        ({"expects": "permitted"}, "'expects' was unexpected"),
    ],
)
def test_a_case_file_that_means_nothing_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(policies.PolicyError, match=message):
        policies.run_cases(_file(tmp_path, **changes))


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(policies.PolicyError, match="no case file"):
        policies.run_cases(tmp_path)
    with pytest.raises(policies.PolicyError, match="no case file at no path"):
        policies.run_cases()
