"""The evidence of a release: one JSON document that policies judge, the report shows and the certificate is cut from.

Most of it is public fact about the run. The sections ``audits``, ``fidelity``, ``similarity`` and ``seconds`` are functions of real
records and stay inside.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from dpsynth import __version__, anchors, durations
from dpsynth.marginals import Domain
from dpsynth.privacy.budget import epsilon_of
from dpsynth.privacy.noise import opendp_version
from dpsynth.privacy.transcript import digest

if TYPE_CHECKING:
    from audits import Claim
    from dpsynth.model import SyntheticModel
    from dpsynth.privacy.ledger import Reservation
    from dpsynth.schema import Field, Schema

EVIDENCE_SCHEMA = "dpsynth.evidence/1"
ACCOUNTANT = "sum of zCDP rho (adaptive filter); (epsilon, delta) by Canonne, Kamath and Steinke 2020, Proposition 12"
_MECHANISMS = {
    "gaussian": "discrete Gaussian",
    "exponential": "exponential mechanism",
    "threshold": "discrete Gaussian with a threshold (categories)",
}
_RESOLUTION_ORDER = ("year", "month", "day", "hour", "minute", "second")
_LIBRARIES = ("numpy", "opendp", "pandas", "pyarrow", "scikit-learn", "scipy", "anonymeter")


@dataclass(frozen=True)
class ReleaseFacts:
    """What the caller and the run decided about this release; all of it may be public."""

    id: str
    created: datetime
    n_rows: int
    rows_source: str
    synthesizer: str
    sha256: str
    attempt: int
    signed: bool
    purpose: str | None = None
    recipient: str | None = None
    whole_units: bool = False
    reassess_months: int | None = 12
    approvals: tuple[Mapping[str, str], ...] = ()
    sign_off: tuple[str, ...] = ()


def build(
    facts: ReleaseFacts,
    schema: Schema,
    model: SyntheticModel,
    claim: Claim,
    suite: Mapping[str, Any],
    fidelity: Mapping[str, Any],
    similarity: Mapping[str, Any],
    content: Mapping[str, Any],
    reservation: Reservation | None,
    ledger_head: str | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Put the document together. ``suite`` is the audit suite's own dict."""
    transcript = model.transcript
    results = suite["results"]
    return {
        "$schema": EVIDENCE_SCHEMA,
        "tool": {"name": "dpsynth", "version": __version__},
        "release": {
            "id": facts.id,
            "created": facts.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "title": schema.title or schema.dataset,
            "dataset": schema.dataset,
            "population": schema.population,
            "synthesizer": facts.synthesizer,
            "n_rows": facts.n_rows,
            "rows_source": facts.rows_source,
            # Persons are drawn whole, so the rows are about as many as that number says.
            "whole_units": facts.whole_units,
            "sha256": facts.sha256,
            "purpose": facts.purpose,
            "recipient": facts.recipient,
            "attempt": facts.attempt,
        },
        "subject": {"sha256": facts.sha256},
        "dp": _guarantee(transcript, claim, results, schema),
        "claim": claim.to_dict(),
        "schema": dictionary(schema, model.domain),
        "transcript": {
            "digest": digest(transcript),
            "rho_total": sum(event["rho"] for event in transcript["events"]),
            "events": transcript["events"],
        },
        "model": _graph(model),
        "audits": suite,
        "fidelity": fidelity,
        "similarity": similarity,
        "content": content,
        "budget": _budget(reservation, ledger_head),
        "label": {"synthetic": True},
        "bundle": {"public": {"non_dp_real_statistics": 0}},
        "approvals": {
            # A required signature counts: without it the certificate does not verify.
            "distinct_roles": len({*(approval["role"] for approval in facts.approvals), *facts.sign_off}),
            "items": [dict(approval) for approval in facts.approvals],
            "signatures_required": list(facts.sign_off),
        },
        # A certificate that asks for a signature does not verify without it.
        "certificate": {"signed": facts.signed or bool(facts.sign_off), "reassess_months": facts.reassess_months},
        "docs": {"model_risk_fields_complete": bool(facts.purpose and facts.recipient and schema.title)},
        "environment": {
            "python": platform.python_version(),
            "platform": sys.platform,
            "libraries": _versions(),
        },
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def _guarantee(transcript: Mapping[str, Any], claim: Claim, results: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    events = transcript["events"]
    recomposed = results.get("recomposition", {})
    return {
        # With thresholds rho holds but for events of probability threshold_delta (Bun and Steinke 2016, Definition 8.1).
        "variant": "approximate zCDP" if claim.threshold_delta else "zCDP",
        "epsilon": claim.epsilon,
        "delta": repr(claim.delta),
        "rho": claim.rho,
        "epsilon_spent": epsilon_of(sum(event["rho"] for event in events), claim.delta - claim.threshold_delta),
        "unit": claim.unit,
        "max_rows": claim.max_rows,
        "adjacency": f"{claim.neighbours}_unit" if claim.neighbours == "replace_one" else f"{claim.neighbours}_one_unit",
        "noise_seeded": bool(transcript["noise"]["seeded"]),
        "noise_observed": bool(transcript["noise"]["observed"]),
        "recomposed": recomposed.get("verdict") == "NOT_FALSIFIED",
        "unprotected_tables": [],
        "unprotected_quantities": ["whether each attempt at this release was permitted"],
        "accountant": f"{ACCOUNTANT}; {claim.threshold_delta!r} of delta is set aside first for values found in the records"
        if claim.threshold_delta
        else ACCOUNTANT,
        "mechanisms": sorted({_MECHANISMS[event["kind"]] for event in events if event["kind"] in _MECHANISMS}),
        "libraries": {"opendp": opendp_version()},
        "population_bound": schema.population_bound,
    }


def dictionary(schema: Schema, domain: Domain) -> dict[str, Any]:
    """The public facts about the columns that policies ask for, with one entry per field."""
    dates = [anchors.step_of(f) for f in schema.modelled if f.type in ("date", "datetime")]
    ages = [
        float(f.maximum)
        for f in schema.modelled
        if isinstance(f.maximum, (int, float)) and re.search(r"(^|[^a-z])age([^a-z]|$)", f.name.lower())
    ]
    return {
        "digest": schema.digest,
        "domain_provenance": sorted({a.provenance for a in domain}),
        # Identifier columns are never read; what is released in their place is made up.
        "direct_identifiers": 0,
        "date_precision": max(dates, key=_RESOLUTION_ORDER.index) if dates else None,
        "age_top_code": max(ages, default=None),
        "geo_min_population": min((f.area_population for f in schema.modelled if f.area_population is not None), default=None),
        "relations": [relation.text for relation in schema.relations],
        "fields": [_field(f, domain) for f in schema.modelled],
    }


def _field(field: Field, domain: Domain) -> dict[str, Any]:
    # A column that a relation computes from others is not in the model.
    attribute = next((found for found in domain if found.name == field.name), None)
    return {
        "name": field.name,
        "title": field.title,
        "type": field.type,
        "role": field.role,
        "size": attribute.size if attribute else None,
        "ordered": field.ordered,
        "nullable": field.nullable,
        "provenance": attribute.provenance if attribute else "computed",
        "group": field.group,
        "minimum": _bound(field, field.minimum),
        "maximum": _bound(field, field.maximum),
        "categories": None if field.has_bounds else list(field.levels),
        "bins": attribute.size - attribute.nullable if attribute and field.has_bounds else None,
    }


def _bound(field: Field, value: object) -> object:
    if field.type == "duration":
        return durations.shown(field, value)
    return _plain(value) if field.anchor is None else anchors.shown(field, value)


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, (int, float, str)) else str(value)


def _graph(model: SyntheticModel) -> dict[str, Any]:
    """Which columns were measured together, and the noise of the best measurement of each."""
    best: dict[tuple[str, ...], float] = {}
    for m in model.measurements:
        best[m.clique] = min(m.stddev, best.get(m.clique, m.stddev))
    return {
        "nodes": [{"name": a.name, "size": a.size, "stddev": best.get((a.name,))} for a in model.domain],
        "edges": [{"clique": list(clique), "stddev": stddev} for clique, stddev in best.items() if len(clique) > 1],
    }


def _budget(reservation: Reservation | None, head: str | None) -> dict[str, Any]:
    if reservation is None:
        return {"ledger": False, "attempt": None, "head": None}
    return {
        "ledger": True,
        "population": reservation.population,
        "unit": reservation.unit,
        "cap": reservation.cap.to_dict() if reservation.cap else None,
        "before": reservation.before.to_dict(),
        "this": {"epsilon": float(reservation.epsilon), "delta": str(reservation.delta)},
        "after": reservation.after.to_dict(),
        "head": head,
        "attempt": reservation.attempt,
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
