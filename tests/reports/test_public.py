"""The public page: nothing that was not put on the whitelist, proved with a canary in every single value."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from reports import render, whitelist
from tests.reports.examples import demo

PUBLIC_PARTS = set(whitelist.EVIDENCE) | {"release.n_rows"}


def _plant(value: Any, path: str, listed: Any, planted: dict[str, str]) -> Any:
    """The document with a canary at every leaf that is not listed: a word for a string, a large number for a number."""
    if isinstance(value, dict):
        return {key: _plant(item, f"{path}.{key}" if path else key, listed, planted) for key, item in value.items()}
    if isinstance(value, list):
        return [_plant(item, path, listed, planted) for item in value]
    if listed(path) or isinstance(value, bool) or value is None:
        return value
    mark = 7_000_001 + 2 * len(planted)
    if isinstance(value, str):
        planted[f"canary{mark}x"] = path
        return f"canary{mark}x"
    planted[str(mark)] = path
    planted[f"{mark:,}"] = path
    return mark


def _field(path: str) -> bool:
    return path.startswith("schema.fields.")


def test_no_internal_value_of_the_evidence_reaches_the_public_page() -> None:
    evidence, decision = demo()
    planted: dict[str, str] = {}
    planted_evidence = _plant(evidence, "", lambda p: p in PUBLIC_PARTS or _field(p), planted)
    assert len(planted) > 1000
    text = render(planted_evidence, decision, audience="public")
    assert {path for canary, path in planted.items() if canary in text} == set()
    # the same canaries do reach the reviewer: the test can see
    inside = render(planted_evidence, decision, audience="reviewer")
    assert sum(canary in inside for canary in planted) > 300


def test_no_name_inside_internal_parts_reaches_the_public_page() -> None:
    evidence, decision = demo()
    for part in ("audits.results", "fidelity.columns", "environment.libraries", "seconds", "similarity", "content"):
        *parents, leaf = part.split(".")
        where = evidence
        for key in parents:
            where = where[key]
        where[leaf]["canary_key"] = copy.deepcopy(next(iter(where[leaf].values())))
    evidence["canary_part"] = {"canary_key": "canary_value"}
    evidence["release"]["canary_key"] = "canary_value"
    evidence["dp"]["libraries"]["canary_key"] = "canary_value"
    assert "canary" not in render(evidence, decision, audience="public")


def test_no_measured_value_message_or_reason_of_the_decision_reaches_the_public_page() -> None:
    evidence, decision = demo()
    planted: dict[str, str] = {}
    listed = {*whitelist.DECISION, *(f"findings.{part}" for part in (*whitelist.FINDING, "threshold", "warn"))}
    text = render(evidence, _plant(decision, "", lambda p: p in listed, planted), audience="public")
    assert len(planted) > 60
    assert {path for canary, path in planted.items() if canary in text} == set()


def test_a_limit_that_refers_to_evidence_is_named_and_not_quoted() -> None:
    evidence, decision = demo()
    decision["findings"][0].update(op="<=", ref="fidelity.tv2.floor", threshold=7_654_321)
    text = render(evidence, decision, audience="public")
    assert "7,654,321" not in text and "fidelity.tv2.floor" in text
    decision["findings"][0].update(ref="policy.budget.lifetime_epsilon")
    assert "7,654,321" in render(evidence, decision, audience="public")


@pytest.mark.parametrize("origin", ["data", "true count", None, "", ["caller"]])
def test_a_row_count_of_unknown_origin_stays_inside(origin: Any) -> None:
    evidence, decision = demo()
    evidence["release"].update(n_rows=7_654_321, rows_source=origin)
    assert "7,654,321" not in render(evidence, decision, audience="public")
    evidence["release"]["rows_source"] = "dp"
    assert "7,654,321" in render(evidence, decision, audience="public")


@pytest.mark.parametrize("audience", ["reviewer", "public"])
def test_a_row_count_is_called_fixed_only_where_rows_were_drawn_one_by_one(audience: str) -> None:
    evidence, decision = demo()
    evidence["release"].update(rows_source="schema", whole_units=False)
    assert "fixed by the public schema" in render(evidence, decision, audience=audience)
    evidence["release"]["whole_units"] = True
    text = render(evidence, decision, audience=audience)
    assert "fixed by the public schema" not in text and "about the number in the public schema; units were drawn whole" in text


@pytest.mark.parametrize("origin", ["data", "observed", None, 1])
def test_a_domain_read_off_the_data_stays_inside(origin: Any) -> None:
    evidence, decision = demo()
    evidence["schema"]["fields"][0].update(
        provenance=origin, minimum=-7_654_321, maximum=7_654_321, size=7_654_321, categories=["canary"], bins=7_654_321
    )
    text = render(evidence, decision, audience="public")
    assert "7,654,321" not in text and "canary" not in text


def test_structures_cannot_hide_behind_a_listed_name() -> None:
    evidence, decision = demo()
    evidence["release"]["title"] = {"canary": "canary"}
    evidence["dp"]["mechanisms"] = ["discrete Gaussian", {"canary": 1}, ["canary"]]
    evidence["schema"]["fields"][0]["title"] = {"canary": "canary"}
    decision["findings"][0]["threshold"] = {"canary": "canary"}
    assert "canary" not in render(evidence, decision, audience="public")


def test_every_listed_path_exists_in_the_demo_so_that_no_line_of_the_whitelist_is_dead() -> None:
    evidence, decision = demo()
    copied = whitelist.public_evidence(evidence)
    for path in whitelist.EVIDENCE:
        where: Any = evidence
        for key in path.split("."):
            assert key in where, path
            where = where[key]
    assert set(copied) <= set(evidence)
    assert "audits" not in copied and "fidelity" not in copied and "transcript" not in copied and "model" not in copied
    assert set(whitelist.public_decision(decision)["findings"][0]) <= {f.split(".")[0] for f in (*whitelist.FINDING, "threshold", "warn")}


def test_the_copy_is_fresh() -> None:
    evidence, _ = demo()
    copied = whitelist.public_evidence(evidence)
    copied["dp"]["mechanisms"].append("x")
    copied["schema"]["fields"][0]["name"] = "x"
    assert evidence == demo()[0]
