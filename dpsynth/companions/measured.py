"""Rows for internal documents: what the audits and comparisons of a release found. Figures of real records; never public."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

TO_COMPLETE: Final = "(to be completed)"
# The three criteria of the Article 29 Working Party (WP216), and what the CNIL asks for besides: membership and outliers.
RISKS: Final[Mapping[str, str]] = {
    "singling_out": "Singling out",
    "linkability": "Linkability",
    "attribute_inference": "Inference",
    "membership": "Membership in the table (AUC; 0.5 is guessing)",
    "outliers": "Isolated people and groups",
    "exact_copies": "Copies of unique records",
    "anonymeter_singling_out": "Singling out, by anonymeter",
    "anonymeter_linkability": "Linkability, by anonymeter",
    "anonymeter_inference": "Inference, by anonymeter",
}
_VERDICTS: Final = {"NOT_FALSIFIED": "not falsified", "VIOLATION": "violation", "INCONCLUSIVE": "inconclusive"}
_UTILITY: Final = (
    ("tv1", "Single columns, mean total variation"),
    ("tv2", "Pairs of columns, mean total variation"),
    ("tv3", "Triples of columns, mean total variation"),
)


def number(value: Any) -> str:
    """Three significant digits, or that there is none."""
    return "not measured" if value is None or isinstance(value, bool) or not isinstance(value, int | float) else f"{value:.3g}"


def risks(evidence: Mapping[str, Any], decision: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """(risk, value, upper bound, policy's limit, attacks, verdict) of each attack on this release."""
    results = evidence["audits"]["results"]
    for name, title in RISKS.items():
        if name not in results:
            yield title, "not measured", "", limit(decision, name), "", ""
            continue
        result = results[name]
        upper = result["interval"][1] if result.get("interval") else None
        verdict = _VERDICTS.get(result["verdict"], "inconclusive")
        yield title, number(result["value"]), number(upper), limit(decision, name), str(result.get("n") or ""), verdict


def limit(decision: Mapping[str, Any], audit: str) -> str:
    """The policy's tightest limit on the upper bound of an audit."""
    found = [finding["threshold"] for finding in decision["findings"] if _limits(finding, audit)]
    return number(min(found)) if found else "none"


def _limits(finding: Mapping[str, Any], audit: str) -> bool:
    """Whether a rule sets an upper limit on the upper bound of ``audit``."""
    return (
        finding["metric"] in (f"audits.results.{audit}", f"audit.{audit}")
        and finding.get("op") in ("<", "<=")
        and finding.get("statistic") != "ci_lower"
        and isinstance(finding.get("threshold"), int | float)
    )


def sources(decision: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(rule, kind of source, source) of each rule that limits the upper bound of an attack."""
    for finding in decision["findings"]:
        if any(_limits(finding, audit) for audit in RISKS):
            yield finding["rule"], finding["source"]["kind"], finding["source"]["text"]


def utility(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(figure, value, sampling floor): what of the real table is kept."""
    fidelity = evidence["fidelity"]
    for key, title in _UTILITY:
        part = fidelity.get(key) or {}
        yield title, number(part.get("mean")), number(part.get("floor"))
    queries = fidelity.get("range_queries") or {}
    yield "Range queries, mean absolute error", number(queries.get("mean_abs_error")), number(queries.get("floor"))
    yield "Largest error of a group, relative to everybody", number(fidelity.get("subgroup_error_ratio_max")), ""
