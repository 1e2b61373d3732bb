"""How numbers, verdicts and metrics are put into words: the same everywhere in a report.

An audit can falsify and never certify, so no audit reads "passed"; a rule can.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.catalogue import AUDITS, audit_title

NOT_MEASURED = "not measured"
NOT_STATED = "not stated"
_LISTED = 5
_DIGEST = re.compile(r"^(?:sha256:)?([0-9a-f]{40,128})$")

# value -> (word, sign, tone); the sign and the word carry the meaning, the tone only colours it
STATUS = {
    "fail": ("Failed", "✕", "bad"),
    "indeterminate": ("Indeterminate", "?", "unsure"),
    "waived": ("Waived", "⊘", "warn"),
    "warn": ("Warning", "!", "warn"),
    "pass": ("Passed", "✓", "good"),
    "info": ("Reported", "i", "plain"),
}
VERDICT = {
    "VIOLATION": ("Violation", "✕", "bad"),
    "INCONCLUSIVE": ("Inconclusive", "?", "unsure"),
    "NOT_FALSIFIED": ("Not falsified", "○", "good"),
}
SOURCE_KIND = {
    "law": "Law",
    "guidance": "Guidance",
    "practice": "Practice",
    "house": "House rule",
}
NEIGHBOURS = {
    "add_remove": "one {unit} added or removed",
    "add_remove_one_unit": "one {unit} added or removed",
    "replace_one": "one {unit} replaced by another",
    "replace_one_unit": "one {unit} replaced by another",
}
ROWS_SOURCE = {
    "caller": "fixed by the person who asked for the release",
    "schema": "fixed by the public schema",
    "dp": "measured with noise, inside the budget",
}
# Where units are drawn whole, no number of rows can be kept to the row.
WHOLE_UNITS_SOURCE = {
    "caller": "about the number asked for by the person who asked for the release; units were drawn whole",
    "schema": "about the number in the public schema; units were drawn whole",
    "dp": "about a number measured with noise, inside the budget; units were drawn whole",
}
OPERATOR = {
    "<=": "at most",
    "<": "below",
    ">=": "at least",
    ">": "above",
    "==": "equal to",
    "in": "one of",
    "subset_of": "only",
    "coarser_or_equal": "no finer than",
    "report_only": "reported, no limit",
}
METRIC = {
    "approvals.distinct_roles": "Approvals by distinct roles",
    "audits.verdict": "Verdict of the audits together",
    "bundle.public.non_dp_real_statistics": "Real statistics in the public bundle",
    "certificate.reassess_months": "Months until reassessment",
    "claim.digest": "Digest of the claim",
    "certificate.signed": "Certificate is signed",
    "content.constraint_violations": "Rows that break a declared relation",
    "content.identifier_like_columns": "Columns that look like identifiers",
    "content.luhn_valid_pan_outside_test_bins": "Valid card numbers outside test ranges",
    "docs.model_risk_fields_complete": "Model-risk fields filled in",
    "dp.adjacency": "Neighbouring tables",
    "dp.delta": "Privacy parameter delta",
    "dp.epsilon": "Privacy parameter epsilon",
    "dp.noise_observed": "Noise was observed",
    "dp.noise_seeded": "Noise was seeded",
    "dp.recomposed": "Accounting recomposed from the transcript",
    "dp.rho": "Privacy parameter rho",
    "dp.unprotected_tables": "Tables outside the guarantee",
    "fidelity.subgroup_error_ratio_max": "Largest error of a group, relative to everybody",
    "label.synthetic": "Labelled as synthetic",
    "release.sha256": "Digest of the released file",
    "schema.age_top_code": "Age top code",
    "schema.date_precision": "Precision of dates",
    "schema.direct_identifiers": "Direct identifiers in the schema",
    "schema.domain_provenance": "Where the domain comes from",
    "schema.geo_min_population": "Smallest population of a geographic level",
    "similarity.dcr_share": "Distance to closest record, share",
    "similarity.identical_match_share": "Identical matches, share",
    "subject.sha256": "Audited file is the released file",
}
FORM = {
    "marginal": "marginal tables",
    "residual": "residuals of marginals",
    "total": "total count",
    "scores": "scores of all candidates",
    "histogram": "histogram for quantiles",
}


def num(value: Any, missing: str = NOT_MEASURED) -> str:
    """Three significant digits, whole numbers in full, or the word for missing."""
    x = ev.number(value)
    if x is None:
        return missing
    if x == 0:
        return "0"
    if x.is_integer() and abs(x) < 1e15:
        return f"{int(x):,}"
    return f"{x:,.0f}" if 1000 <= abs(x) < 1e15 else f"{x:.3g}"


def exact(value: Any) -> str:
    """A privacy parameter: not rounded to three digits, which could understate it."""
    x = ev.number(value)
    return NOT_STATED if x is None else f"{x:.8g}"


def pct(value: Any, missing: str = NOT_MEASURED) -> str:
    """A share as a percentage; never rounds up to certainty or down to impossibility."""
    x = ev.number(value)
    if x is None:
        return missing
    if x in (0.0, 1.0):
        return f"{x:.0%}"
    if 0 < x < 0.0005:
        return "< 0.1%"
    if 0.9995 <= x < 1:
        return "> 99.9%"
    return f"{x:.1%}".replace(".0%", "%")


def span(low: Any, high: Any) -> str:
    """An interval, or an empty string when neither end is known."""
    if ev.number(low) is None and ev.number(high) is None:
        return ""
    if ev.number(high) is None:
        return f"at least {num(low)}"
    return f"at most {num(high)}" if ev.number(low) is None else f"[{num(low)}, {num(high)}]"


def anything(value: Any, missing: str = NOT_MEASURED) -> str:
    """A scalar, a list or a mapping as one line; what is nested deeper is not spelled out."""
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_scalar(item, missing) for item in value[:_LISTED])
        return (shown + (" …" if len(value) > _LISTED else "")) or "none"
    if isinstance(value, Mapping):
        return _grouped(value) or missing
    return _scalar(value, missing)


def _scalar(value: Any, missing: str) -> str:
    if isinstance(value, (list, tuple, Mapping)):
        return "…"
    if isinstance(value, bool):
        return answer(value)
    if isinstance(value, (int, float)):
        return num(value, missing)
    line = ev.text(value) or missing
    if line in VERDICT:
        return VERDICT[line][0].lower()
    digest = _DIGEST.match(line)
    return f"{digest[1][:16]}…" if digest else line


def _grouped(values: Mapping[str, Any]) -> str:
    """Names that share a value are said together, counted when they are many."""
    groups: dict[str, list[str]] = {}
    for name, value in ev.named(values):
        groups.setdefault(_scalar(value, NOT_MEASURED), []).append(audit_title(name) if name in AUDITS else name)
    return "; ".join(
        f"{len(names)} × {value}" if len(names) > 3 else f"{', '.join(names)}: {value}" for value, names in sorted(groups.items())
    )


def metric(path: Any) -> str:
    """A metric path in words where we have them."""
    line = ev.metric_path(ev.text(path) or "")
    if line in METRIC:
        return METRIC[line]
    if line.startswith("audits.results."):
        return audit_title(line.split(".")[2]) if line.count(".") == 2 and "*" not in line else line
    return line or NOT_STATED


def status_of(finding: Mapping[str, Any]) -> str:
    """The status of a finding; one that we do not know decides nothing, so it reads indeterminate."""
    said = ev.text(finding.get("status")) or ""
    return said if said in STATUS else "indeterminate"


def limit(finding: Mapping[str, Any]) -> str:
    """What a rule asks for: operator and threshold."""
    op = ev.text(finding.get("op")) or ""
    if op == "report_only":
        return OPERATOR[op]
    reference, threshold = ev.text(finding.get("ref")), finding.get("threshold")
    value = metric(reference).lower() if reference and threshold is None else anything(threshold, NOT_STATED)
    return f"{OPERATOR.get(op, op)} {value}".strip()


def neighbours(adjacency: Any, unit: str) -> str:
    """The neighbouring relation in words."""
    key = ev.text(adjacency) or ""
    return NEIGHBOURS[key].format(unit=unit) if key in NEIGHBOURS else key or NOT_STATED


def answer(value: Any, yes: str = "yes", no: str = "no") -> str:
    """Words for true and false; anything else is not stated."""
    return {True: yes, False: no}[value] if isinstance(value, bool) else NOT_STATED


def plural(count: int, word: str) -> str:
    """``1 rule``, ``2 rules``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
