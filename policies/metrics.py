"""What a rule may look at: every path into the evidence, what stands there, and how it is read.

A path that is not listed cannot be used, so that a typing error in a policy is an error and not a rule that never
fires. Reading fails closed: a number out of its range, of the wrong type or not finite is indeterminate, never a
pass.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any

from policies.errors import PolicyError


class Kind(Enum):
    """How a metric is compared."""

    NUMBER = "number"
    TEXT = "text"
    FLAG = "flag"
    LIST = "list"
    GRANULARITY = "granularity"
    AUDIT = "audit"


@dataclass(frozen=True)
class Metric:
    """A path into the evidence; ``low`` and ``high`` bound what the quantity can be at all."""

    kind: Kind
    meaning: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Reading:
    """One value a path led to.

    ``problem`` says why it cannot be judged; then ``missing`` tells absence from unusable evidence.
    """

    label: str
    value: Any = None
    problem: str | None = None
    missing: bool = False
    violation: bool = False
    interval: tuple[Any, Any] | None = None
    n: int | None = None


GRANULARITIES = ("second", "minute", "hour", "day", "week", "month", "quarter", "year", "decade")
VERDICTS = ("VIOLATION", "NOT_FALSIFIED", "INCONCLUSIVE")
AUDIT_NAMES = frozenset(
    {
        "recomposition",
        "record_replay",
        "residual_calibration",
        "transcript_likelihood",
        "noise_eprocess",
        "membership",
        "one_run_epsilon",
        "singling_out",
        "linkability",
        "attribute_inference",
        "outliers",
        "exact_copies",
        "direct_identifiers",
        "anonymeter_singling_out",
        "anonymeter_linkability",
        "anonymeter_inference",
    }
)

_DECIMAL = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


def _number(meaning: str, low: float | None = None, high: float | None = None) -> Metric:
    return Metric(Kind.NUMBER, meaning, low, high)


def _text(meaning: str) -> Metric:
    return Metric(Kind.TEXT, meaning)


def _flag(meaning: str) -> Metric:
    return Metric(Kind.FLAG, meaning)


def _list(meaning: str) -> Metric:
    return Metric(Kind.LIST, meaning)


METRICS: dict[str, Metric] = {
    "$schema": _text("the version of the evidence format"),
    "release.attempt": _number("which attempt at this release it is; each is charged", 1),
    "release.n_rows": _number("number of synthetic rows", 0),
    "release.population": _text("the people the table is about, as declared"),
    "release.purpose": _text("what the release is for"),
    "release.recipient": _text("who receives the release"),
    "release.rows_source": _text("where the number of synthetic rows comes from: caller, schema or dp"),
    "release.sha256": _text("digest of the synthetic table to be released"),
    "release.synthesizer": _text("the mechanism that made the table"),
    "subject.sha256": _text("digest of the table the audits looked at"),
    "dp.accountant": _text("the accountant behind the claim"),
    "dp.adjacency": _text("which tables are neighbours: add_remove_one_unit or replace_one_unit"),
    "dp.delta": _number("delta of this release", 0, 1),
    "dp.epsilon": _number("epsilon claimed for this release, per privacy unit", 0),
    "dp.epsilon_spent": _number("epsilon the transcript adds up to", 0),
    "dp.max_rows": _number("rows one privacy unit may contribute; enforced before counting", 1),
    "dp.mechanisms": _list("noise mechanisms used"),
    "dp.noise_observed": _flag("whether something watched the noise being drawn"),
    "dp.noise_seeded": _flag("whether the noise came from a seed; whoever knows the seed can remove it"),
    "dp.population_bound": _number("declared public bound on the size of the population", 1),
    "dp.recomposed": _flag("whether the transcript adds up to the claim by an independent accountant"),
    "dp.rho": _number("zero-concentrated privacy loss of this release", 0),
    "dp.unit": _text("the privacy unit: whose presence the guarantee hides"),
    "dp.unprotected_quantities": _list("what the release tells outside the guarantee, declared"),
    "dp.unprotected_tables": _list("tables about the same people that the guarantee does not cover"),
    "dp.variant": _text("the kind of differential privacy"),
    "claim.delta": _number("delta the audits tested", 0, 1),
    "claim.digest": _text("digest of the claim the audits tested"),
    "claim.epsilon": _number("epsilon the audits tested", 0),
    "claim.max_rows": _number("rows per unit the audits tested", 1),
    "claim.neighbours": _text("neighbours the audits tested"),
    "claim.rho": _number("zCDP parameter the audits tested", 0),
    "claim.unit": _text("privacy unit the audits tested"),
    "schema.age_top_code": _number("the age from which all ages are one class", 0),
    "schema.date_precision": Metric(Kind.GRANULARITY, "the finest date the table can show"),
    "schema.digest": _text("digest of the public schema"),
    "schema.direct_identifiers": _number("direct-identifier columns whose real values would be released", 0),
    "schema.domain_provenance": _list("where categories, bounds and bins come from: declared, dp, or data"),
    "schema.geo_min_population": _number("population of the smallest area the table can show", 0),
    "transcript.digest": _text("digest of the transcript of noisy releases"),
    "transcript.rho_total": _number("sum of rho over the transcript", 0),
    "audits.alpha": _number("probability that the whole audit suite raises a false alarm", 0, 1),
    "audits.requested": _list("audits that were asked for"),
    "audits.tier": _text("how thoroughly the audits ran: smoke, standard or deep"),
    "audits.rows.trained": _number("rows that the model was trained on; not differentially private", 0),
    "audits.rows.seen": _number("of these rows, how many the audits were given: all, or those of the cohort and a sample", 0),
    "audits.verdict": _text("verdict of the suite as a whole"),
    "audits.results.*": Metric(Kind.AUDIT, "result of one audit"),
    "audits.results.*.claim_digest": _text("digest of the claim this audit tested"),
    "audits.results.*.verdict": _text("verdict of one audit: VIOLATION, NOT_FALSIFIED or INCONCLUSIVE"),
    "audits.results.*.detectable": _number("smallest violation this audit would have caught with 80 % power"),
    "audits.results.*.n": _number("number of attacks or cells of this audit", 0),
    "fidelity.propensity_auc.value": _number("how well a classifier tells synthetic from real records; 0.5 is not at all", 0, 1),
    "fidelity.range_queries.mean_abs_error": _number("mean absolute error of random range queries", 0),
    "fidelity.rare.invented": _number("rare categories that only the synthetic table has", 0),
    "fidelity.rare.kept": _number("rare categories that both tables have", 0),
    "fidelity.rare.lost": _number("rare categories that the synthetic table lost", 0),
    "fidelity.subgroup_error_ratio_max": _number("error of the worst group over that of the whole table", 0),
    "fidelity.tv1.max": _number("worst total variation over single columns", 0, 1),
    "fidelity.tv1.mean": _number("mean total variation over single columns", 0, 1),
    "fidelity.tv2.max": _number("worst total variation over pairs of columns", 0, 1),
    "fidelity.tv2.mean": _number("mean total variation over pairs of columns", 0, 1),
    "fidelity.tv3.max": _number("worst total variation over triples of columns", 0, 1),
    "fidelity.tv3.mean": _number("mean total variation over triples of columns", 0, 1),
    "similarity.dcr_share": _number(
        "share of synthetic rows nearer to training than to control; a diagnostic, not evidence of privacy", 0, 1
    ),
    "similarity.identical_match_share": _number("share of synthetic rows equal to a training row; a diagnostic", 0, 1),
    "content.constraint_violations": _number("rows of the released file that break a relation its schema declares", 0),
    "content.identifier_like_columns": _list("released columns whose values look like names, e-mail, phone or identity numbers"),
    "content.luhn_valid_pan_outside_test_bins": _number("card numbers with a valid check digit outside published test ranges", 0),
    "budget.after.delta": _number("delta spent on this population after this release", 0),
    "budget.after.epsilon": _number("epsilon spent on this population after this release", 0),
    "budget.after.releases": _number("releases charged to this population after this one", 0),
    "budget.attempt": _number("which attempt at this release the ledger counts", 1),
    "budget.before.delta": _number("delta spent on this population before this release", 0),
    "budget.before.epsilon": _number("epsilon spent on this population before this release", 0),
    "budget.before.releases": _number("releases charged to this population before this one", 0),
    "budget.cap.delta": _number("delta the ledger allows this population", 0),
    "budget.cap.epsilon": _number("epsilon the ledger allows this population", 0),
    "budget.head": _text("head hash of the ledger"),
    "budget.ledger": _flag("whether a ledger paid for the release"),
    "budget.population": _text("the population the ledger charged"),
    "budget.this.delta": _number("delta charged for this release", 0),
    "budget.this.epsilon": _number("epsilon charged for this release", 0),
    "budget.unit": _text("the privacy unit the ledger charged"),
    "label.synthetic": _flag("whether the table is labelled as synthetic"),
    "bundle.public.non_dp_real_statistics": _number("figures computed on real records, outside the guarantee, in the public bundle", 0),
    "approvals.distinct_roles": _number("different roles that signed off", 0, 100),
    "certificate.reassess_months": _number("months until the release must be assessed again", 0),
    "certificate.signed": _flag("whether the certificate is signed, or does not verify until it is"),
    "docs.model_risk_fields_complete": _flag("whether owner, purpose, limits and validation are documented"),
}

POLICY_METRICS: dict[str, Metric] = {
    "policy.budget.lifetime_delta": _number("the policy's cap on delta over the life of a population", 0),
    "policy.budget.lifetime_epsilon": _number("the policy's cap on epsilon over the life of a population", 0),
    "policy.budget.max_attempts": _number("the policy's cap on attempts at one release", 1),
}


def full_path(path: str) -> str:
    """``audit.membership`` is short for ``audits.results.membership``."""
    return "audits.results." + path.removeprefix("audit.") if path.startswith("audit.") else path


@cache
def metric(path: str) -> Metric:
    """The metric that ``path`` names; an unknown one is an error that suggests the nearest."""
    parts = full_path(path).split(".")
    for pattern, found in (METRICS | POLICY_METRICS).items():
        names = pattern.split(".")
        if len(names) == len(parts) and all(a == b or a == "*" for a, b in zip(names, parts, strict=True)):
            return found
    from difflib import get_close_matches

    near = get_close_matches(full_path(path), [*METRICS, *POLICY_METRICS], n=1)
    raise PolicyError(f"metric '{path}' is unknown" + (f"; did you mean '{near[0]}'?" if near else ""))


def readings(document: Mapping[str, Any], path: str, *, statistic: str | None, min_attacks: int, confidence: float) -> list[Reading]:
    """Everything ``path`` leads to in ``document``, one reading per match of a ``*``, one missing if none."""
    path = full_path(path)
    known = metric(path)
    found = list(_follow(document, path.split("."), ()))
    if not found:
        return [Reading(path, problem="there is no such evidence", missing=True)]
    out = []
    for label, value in found:
        if value is None:
            out.append(Reading(label, problem="there is no such evidence", missing=True))
        elif known.kind is Kind.AUDIT:
            out.append(_audit(label, value, statistic or "ci_upper", min_attacks, confidence))
        else:
            out.append(_plain(label, value, known))
    return out


def to_number(value: Any) -> Decimal | None:
    """The exact decimal of a finite number or decimal string; None for anything else, a flag included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return Decimal(value) if _DECIMAL.fullmatch(value) else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, numbers.Integral):
        return Decimal(int(value))
    if isinstance(value, numbers.Real):
        return Decimal(repr(float(value))) if math.isfinite(value) else None
    return None


def _follow(node: Any, parts: list[str], done: tuple[str, ...], starred: bool = False) -> Iterator[tuple[str, Any]]:
    """Below a ``*`` absence counts per match: an audit without a verdict must not vanish among those that have one."""
    if not parts:
        yield ".".join(done), node
    elif starred and (not isinstance(node, Mapping) or parts[0] not in node):
        yield ".".join((*done, *parts)), None
    elif isinstance(node, Mapping):
        names = sorted(node) if parts[0] == "*" else [parts[0]] if parts[0] in node else []
        for name in names:
            yield from _follow(node[name], parts[1:], (*done, str(name)), starred or parts[0] == "*")


def _plain(label: str, value: Any, known: Metric) -> Reading:
    if known.kind is Kind.NUMBER:
        number = to_number(value)
        if number is None:
            return Reading(label, value, problem="it is not a finite number")
        if (known.low is not None and number < Decimal(str(known.low))) or (known.high is not None and number > Decimal(str(known.high))):
            return Reading(label, value, problem="it is outside the range the quantity can have")
    elif known.kind is Kind.FLAG and not isinstance(value, bool):
        return Reading(label, value, problem="it is not true or false")
    elif known.kind in (Kind.TEXT, Kind.GRANULARITY) and not isinstance(value, str):
        return Reading(label, value, problem="it is not text")
    elif known.kind is Kind.LIST and not isinstance(value, list | tuple):
        return Reading(label, value, problem="it is not a list")
    return Reading(label, list(value) if known.kind is Kind.LIST else value)


def _audit(label: str, result: Any, statistic: str, min_attacks: int, confidence: float) -> Reading:
    if not isinstance(result, Mapping) or result.get("verdict") not in VERDICTS:
        return Reading(label, problem="it is not an audit result")
    verdict = result["verdict"]
    n = result.get("n")
    n = int(n) if isinstance(n, numbers.Integral) and not isinstance(n, bool) else None
    interval = result.get("interval")
    pair = (interval[0], interval[1]) if isinstance(interval, list | tuple) and len(interval) == 2 else None
    shown: dict[str, Any] = {"interval": pair, "n": n}
    value = verdict
    if statistic != "verdict":
        value = result.get("value") if statistic == "value" else pair and pair[statistic == "ci_upper"]
    if verdict == "VIOLATION":
        return Reading(label, value, violation=True, **shown)
    if verdict == "INCONCLUSIVE":
        return Reading(label, value, problem="the audit was inconclusive", **shown)
    if min_attacks and (n is None or n < min_attacks):
        return Reading(label, value, problem=f"the audit made fewer than the {min_attacks} attacks asked for", **shown)
    if statistic == "verdict":
        return Reading(label, value, **shown)
    if value is None:
        return Reading(label, problem=f"the audit has no {statistic}", missing=True, **shown)
    if to_number(value) is None:
        return Reading(label, value, problem=f"its {statistic} is not a finite number", **shown)
    held = to_number(result.get("confidence"))
    if statistic != "value" and (held is None or held < Decimal(str(confidence))):
        return Reading(label, value, problem=f"its interval has less than the confidence {confidence} asked for", **shown)
    return Reading(label, value, **shown)
