"""render(): total on incomplete evidence, a function of its arguments, honest about what it was not given."""

from __future__ import annotations

import base64
import json
import math
from itertools import pairwise
from typing import Any

import pytest

from reports import ReportError, render
from tests.reports.examples import AUDIENCES, CASES, demo, denied, load, page, paths, replaced, tree


@pytest.mark.parametrize("audience", AUDIENCES)
def test_same_evidence_same_bytes_whatever_the_order_of_keys(audience: str) -> None:
    evidence, decision = demo()
    again = json.loads(json.dumps(evidence, sort_keys=True)), json.loads(json.dumps(decision, sort_keys=True))
    assert render(evidence, decision, audience=audience) == render(*again, audience=audience) == page("demo", audience)


def test_arguments_are_left_untouched() -> None:
    evidence, decision = demo()
    for audience in AUDIENCES:
        render(evidence, decision, audience=audience)
    assert (evidence, decision) == demo()


def test_unknown_audience_and_non_objects_are_refused() -> None:
    with pytest.raises(ReportError, match="audience='everyone' must be one of"):
        render({}, {}, audience="everyone")
    with pytest.raises(ReportError, match="evidence must be a JSON object"):
        render([], {}, audience="public")  # type: ignore[arg-type]


WRONG: tuple[Any, ...] = (
    None,
    "",
    "text",
    -1,
    10**400,
    math.nan,
    math.inf,
    True,
    [],
    [[]],
    [None, 3],
    {},
    {"a": {"b": []}},
)


def thin() -> tuple[dict[str, Any], dict[str, Any]]:
    """The demo with a few entries of everything: each kind of path is there, and a page takes milliseconds."""
    evidence, decision = demo()
    evidence["schema"]["fields"] = evidence["schema"]["fields"][:3]
    evidence["transcript"]["events"] = evidence["transcript"]["events"][:4] + evidence["transcript"]["events"][-1:]
    evidence["model"] = {key: value[:3] for key, value in evidence["model"].items()}
    for where, keep in ((evidence["audits"]["results"], 13), (evidence["fidelity"]["columns"], 18)):
        for name in list(where)[:keep]:
            if name not in ("membership", "one_run_epsilon", "singling_out", "attribute_inference"):
                del where[name]
    evidence["fidelity"]["association"] = {
        "columns": ["a", "b"],
        "train": [[1, 0.5], [0.5, 1]],
        "synthetic": [[1, 0], [0, 1]],
    }
    decision["findings"] = [f for f in decision["findings"] if f["rule"] in ("DP-001", "AUD-101", "FAIR-210")]
    return evidence, decision


def test_no_part_of_the_evidence_is_needed_and_none_of_the_wrong_type_crashes() -> None:
    evidence, decision = thin()
    for i, path in enumerate(paths(evidence)):
        # every part at the top gets each wrong value, each deeper path one of them
        for wrong in WRONG if len(path) == 1 else (WRONG[i % len(WRONG)],):
            render(replaced(evidence, path, wrong), decision, audience="reviewer")


def test_no_part_of_the_decision_is_needed() -> None:
    evidence, decision = load("evidence_minimal.json"), thin()[1]
    for i, path in enumerate(paths(decision)):
        render(evidence, replaced(decision, path, WRONG[i % len(WRONG)]), audience=AUDIENCES[i % 2])


@pytest.mark.parametrize("part", ["audits", "fidelity", "similarity", "content", "budget", "seconds"])
def test_each_missing_section_says_so(part: str) -> None:
    evidence, decision = thin()
    section = {"similarity": "audits", "content": "audits", "seconds": "provenance"}.get(part, part)
    whole = _section(render(evidence, decision, audience="reviewer"), section)
    del evidence[part]
    assert _section(render(evidence, decision, audience="reviewer"), section).count("ot measured") > whole.count("Not measured")


def _section(text: str, name: str) -> str:
    return text.split(f'<section id="{name}"')[1].split("</section>")[0]


def test_sections_without_evidence_read_not_measured() -> None:
    text = page("empty", "reviewer")
    assert text.count("ot measured") >= 8 and "Indeterminate" in text


@pytest.mark.parametrize(
    "decision",
    [
        {},
        {"verdict": "permitted"},  # does not say permitted
        {"verdict": "permitted", "permitted": False},
        {"verdict": "denied", "permitted": True},
        {"verdict": "fine", "permitted": True},
        {"verdict": ["permitted"], "permitted": True},
        {"verdict": "permitted", "permitted": "true"},
    ],
)
def test_a_decision_that_contradicts_itself_is_shown_as_indeterminate(decision: dict[str, Any]) -> None:
    for audience in AUDIENCES:
        text = render(demo()[0], decision, audience=audience)
        assert "<strong>Indeterminate</strong>" in text and "<strong>Permitted</strong>" not in text


def test_a_public_page_of_a_refused_release_says_that_it_must_not_leave() -> None:
    assert "Not for publication." in page("denied", "public") and "Not for publication." in page("empty", "public")
    assert "Not for publication." not in page("demo", "public")


def test_refusal_says_why() -> None:
    text = render(*denied(), audience="reviewer")
    assert "<strong>Denied</strong>" in text
    assert "What keeps this release back" in text and "Do not retry." in text
    assert text.index("AUD-101") < text.index("DP-000")  # the urgent first


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("subject", "sha256"), "0" * 64, "is not the file that is released"),
        (("dp", "noise_seeded"), True, "The noise was seeded"),
        (("dp", "noise_observed"), True, "The noise was observed"),
        (("dp", "recomposed"), False, "does not recompose"),
        (("$schema",), "dpsynth.evidence/2", "an unknown version"),
    ],
)
def test_contradictions_stand_in_the_banner(path: tuple[str, ...], value: Any, words: str) -> None:
    evidence, decision = demo()
    for audience in AUDIENCES:
        assert words not in page("demo", audience)
        assert words in render(replaced(evidence, path, value), decision, audience=audience)


def test_an_unknown_audit_is_shown_and_an_unknown_verdict_is_inconclusive() -> None:
    evidence, decision = demo()
    evidence["audits"]["results"]["brand_new"] = {"verdict": "PASSED", "value": 0.25, "details": {"on": [1, 2]}}
    evidence["audits"]["requested"].append("never_ran")
    text = render(evidence, decision, audience="reviewer")
    assert "Brand new" in text and "PASSED" not in text
    assert "Asked for but missing:</strong> Never ran" in text


def test_attacks_are_drawn_from_the_details_of_the_audits() -> None:
    root = tree("demo", "reviewer")
    tables = {t.children[0].text().split(":")[0]: t.text() for t in root.every("table")}
    assert "Singling out 0.012 -0.008 0.031 0.083 0.071 0.064 none 0.09" in tables["Attacks against a control"]
    # the worst secret stands for the audit; each secret has a bar of its own
    assert "Attribute inference 0.019 -0.011 0.049" in tables["Attacks against a control"]
    assert "Attribute inference: health 0.004" in tables["The same attacks, one secret or subset at a time"]
    assert "Membership inference 0.517 0.492 0.542 none none none 0.642 none" in tables["Membership inference"]
    assert "race: yes 214 0.531 [0.491, 0.571]" in tables["Attacks by group"]


def test_missing_cells_have_a_bar_of_their_own() -> None:
    figures = tree("demo", "reviewer").every("figure")
    figure = next(f for f in figures if any(h.text() == "education" for h in f.every("h4")))
    rows = [tr.text() for tr in next(figure.every("tbody")).every("tr")]
    assert rows[-1].startswith("missing ") and len(rows) == 22
    assert "(missing)" not in figure.text()


def test_a_violation_is_shown() -> None:
    evidence, decision = demo()
    assert ">Violation<" not in page("demo", "reviewer").replace("</span> ", ">").replace("</span>", "<")
    evidence["audits"]["results"]["membership"]["verdict"] = "VIOLATION"
    assert "</span> Violation</span>" in render(evidence, decision, audience="reviewer")


def _statement(status: str) -> dict[str, Any]:
    predicate = {"signature_status": status, "issued": "2026-11-22T10:00:00Z", "reassess_by": "2027-11-22"}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "synthetic.parquet", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://dpsynth.dev/dp-release/v1",
        "predicate": predicate,
    }


def _envelope(status: str, signatures: list[Any]) -> dict[str, Any]:
    payload = base64.b64encode(json.dumps(_statement(status)).encode()).decode()
    return {"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": signatures}


def test_certificate_is_quoted_and_never_called_verified() -> None:
    signature = {"keyid": "c0ffee" * 10, "sig": "AA==", "dpsynth": {"role": "data-owner", "date": "2026-11-22"}}
    text = render(*demo(), _envelope("signed", [signature]), audience="reviewer")
    for words in (
        "of this release is signed",
        "2027-11-22",
        "data-owner",
        "key c0ffeec0ffeec0ff",
        "has not verified it",
        "synthetic.parquet",
    ):
        assert words in text
    assert "<strong>not signed</strong>" in render(*demo(), _envelope("unsigned", []), audience="public")
    assert "of this release is signed" in render(*demo(), _statement("signed"), audience="public")
    # a bare statement is cut before it is signed: whether it will be, the evidence says
    evidence, decision = demo()
    assert "of this release is signed" in render(evidence, decision, _statement("unsigned"), audience="public")
    evidence["certificate"]["signed"] = False
    assert "<strong>not signed</strong>" in render(evidence, decision, _statement("unsigned"), audience="public")


@pytest.mark.parametrize("payload", ["%%%", "bm90IGpzb24=", "bnVsbA==", 7, None, base64.b64encode(b"[" * 200_000).decode()])
def test_unreadable_certificate_is_an_alarm(payload: Any) -> None:
    for audience in AUDIENCES:
        assert "could not be read" in render(*demo(), {"payload": payload, "signatures": 3}, audience=audience)


def test_large_tables_stay_within_a_megabyte() -> None:
    evidence, decision = demo()
    names = [f"column_{i:03d}" for i in range(120)]
    field = evidence["schema"]["fields"][0]
    evidence["schema"]["fields"] = [{**field, "name": n, "categories": [f"level {k}" for k in range(700)]} for n in names]
    labels = [f"code {k:04d}" for k in range(700)]
    shares = [1 / 700] * 700
    evidence["fidelity"]["columns"] = {n: {"tv": 0.1, "floor": 0.1, "labels": labels, "train": shares, "synthetic": shares} for n in names}
    matrix = [[(i * j % 17) / 17 for j in range(120)] for i in range(120)]
    evidence["fidelity"]["association"] = {
        "columns": names,
        "train": matrix,
        "synthetic": [row[::-1] for row in matrix],
    }
    evidence["model"] = {
        "nodes": [{"name": n, "size": 700, "stddev": 9.0} for n in names],
        "edges": [{"clique": [a, b], "stddev": 12.0} for a, b in pairwise(names)],  # a chain
    }
    evidence["fidelity"]["groups"] = [{"field": "f", "level": str(k), "ratio": k / 100} for k in range(500)]
    assert len(render(evidence, decision, audience="reviewer").encode()) < 1_000_000
    assert len(render(evidence, decision, audience="public").encode()) < 1_000_000


@pytest.mark.parametrize("case", CASES)
def test_pages_can_be_written_as_utf8(case: str) -> None:
    for audience in AUDIENCES:
        page(case, audience).encode("utf-8")


def test_lone_surrogates_can_be_written_too() -> None:
    evidence, decision = demo()
    evidence["release"]["title"] = "a\ud800b"
    assert "a\ufffdb" in render(evidence, decision, audience="public")
    evidence["fidelity"]["columns"]["\udfff"] = evidence["fidelity"]["columns"].pop("age")
    evidence["environment"]["\udfff"] = "\udfff"
    render(evidence, decision, audience="reviewer").encode("utf-8")


def test_a_broken_rule_is_said_beside_missing_evidence() -> None:
    evidence, decision = denied()
    decision.update(verdict="indeterminate", exit_code=3)
    assert "a rule is broken, and evidence is missing" in render(evidence, decision, audience="reviewer")
    for finding in decision["findings"]:
        if finding["status"] == "fail":
            finding["status"] = "pass"
    assert "cannot decide: evidence is missing" in render(evidence, decision, audience="reviewer")


def test_who_asked_for_a_waiver_who_approved_it_and_why_is_for_reviewers_alone() -> None:
    evidence, decision = demo()
    evidence["approvals"]["signatures_required"] = ["data-owner"]
    inside, outside = (render(evidence, decision, audience=audience) for audience in ("reviewer", "public"))
    for words in ("Ana Lima", "approved by Bo Chen, Cy Diaz", "weighted up by the recipient", "up to 1.8", "DPO-991"):
        assert words in inside and words not in outside
    assert "asks for signatures by: data-owner" in inside
    for use in decision["waivers"]:
        use.pop("terms", None)
    assert "not stated" in render(evidence, decision, audience="reviewer").lower()


def test_a_refused_release_is_not_said_to_have_a_certificate() -> None:
    refused = render(*denied(), audience="reviewer")
    assert "it has no certificate" in refused and "certificate.dsse.json</code> in the public folder" not in refused
