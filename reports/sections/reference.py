"""Glossary, sources and how to verify: the same words for every reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.guarantee import DEPLOYMENTS
from reports.sections.rules import source

_COMMON = (
    (
        "Epsilon",
        ("How much any one unit can change the probability of any outcome, as the exponent of a factor. Smaller is more private."),
    ),
    (
        "Delta",
        "The probability with which the factor may be exceeded. It should be far below one over the number of people.",
    ),
    (
        "Rho, zCDP",
        ("Another scale of privacy loss, in which costs of steps simply add up; converted to epsilon and delta at the end."),
    ),
    ("Privacy unit", "Who is protected: all rows of one person, one account, one hospital stay."),
    (
        "Neighbouring tables",
        "Two tables that differ in one unit. The guarantee says they can hardly be told apart from what is released.",
    ),
    ("Marginal", "A table of counts over one or a few columns."),
    ("Ledger", "The running total of privacy loss for a population. It only grows."),
    ("Indeterminate", "The rule could not be judged because evidence was missing or too weak. It is not a pass."),
    ("House rule", "A threshold chosen by this house, with no outside authority behind the number."),
)
_REVIEWER = (
    (
        "Not falsified",
        "The audit tried to contradict the claim and failed. It proves nothing beyond what it could have detected.",
    ),
    ("Detectable", "The smallest violation this audit would have caught with 80% power."),
    ("Control", "People who were left out of training by a coin flip. Success against them is not privacy loss."),
    ("Cap", "The largest success the claimed guarantee allows any attack."),
    (
        "Singling out, linkability, inference",
        "The three risks named by the European data protection authorities in WP216.",
    ),
    ("Sampling floor", "The error a fresh sample of the real table would show; less cannot be asked for."),
    (
        "Total variation",
        "Half the sum of absolute differences of shares: 0 is the same table, 1 has nothing in common.",
    ),
    (
        "Distance to closest record",
        "A similarity figure that a verbatim copy can pass. Shown as a diagnostic, never as proof.",
    ),
    ("Transcript", "The list of every noisy answer taken from the real records, with its cost."),
    ("Waiver", "A named, reasoned and expiring exception to one rule."),
)
_LITERATURE = (
    (
        "NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (2025)",
        "https://doi.org/10.6028/NIST.SP.800-226",
    ),
    (
        "Dwork and Roth, The Algorithmic Foundations of Differential Privacy (2014)",
        "https://doi.org/10.1561/0400000042",
    ),
    ("Bun and Steinke, Concentrated Differential Privacy (2016)", "https://arxiv.org/abs/1605.02065"),
    (
        "Canonne, Kamath and Steinke, The Discrete Gaussian for Differential Privacy (2020)",
        "https://arxiv.org/abs/2004.00010",
    ),
    (
        "Kairouz, Oh and Viswanath, The Composition Theorem for Differential Privacy (2015)",
        "https://arxiv.org/abs/1311.0776",
    ),
    (DEPLOYMENTS.source, DEPLOYMENTS.url),
)


def build(decision: Mapping[str, Any], attestation: Mapping[str, Any] | None, *, reviewer: bool) -> dict[str, Any]:
    """Reviewers get the words of the audits too; the public never sees the audits, so it needs none of them."""
    cited: dict[tuple[str, str], dict[str, Any]] = {}
    for finding in ev.records(decision.get("findings")):
        found = source(finding.get("source"))
        if found["text"]:
            cited.setdefault((found["label"], found["text"]), found)
    return {
        "glossary": sorted(_COMMON + (_REVIEWER if reviewer else ())),
        "cited": [cited[key] for key in sorted(cited)],
        "literature": _LITERATURE,
        "attestation": attestation,
    }
