"""Puts the sections of one audience together. No clock, no network, no script: the same evidence gives the same bytes.

The public page is rendered from the whitelisted copy alone; the full evidence never reaches its template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from reports import attestation, whitelist
from reports import evidence as ev

if TYPE_CHECKING:
    from jinja2 import Environment

AUDIENCES = ("reviewer", "public")


class ReportError(ValueError):
    """A report was asked for with unusable arguments."""


def render(
    evidence: Mapping[str, Any],
    decision: Mapping[str, Any],
    certificate: Mapping[str, Any] | None = None,
    *,
    audience: str,
) -> str:
    """One self-contained HTML page about a release.

    ``audience="reviewer"`` shows everything, including figures computed from real records, and must stay inside.
    ``audience="public"`` shows what ``reports.whitelist`` lists and nothing else.
    Whatever the evidence lacks reads "not measured".
    ``certificate`` is a DSSE envelope or an in-toto statement; the page quotes it and verifies nothing.

    >>> "Indeterminate" in render({}, {}, audience="public")
    True
    """
    if audience not in AUDIENCES:
        raise ReportError(f"audience={audience!r} must be one of {', '.join(AUDIENCES)}")
    for name, value in (("evidence", evidence), ("decision", decision), ("certificate", certificate or {})):
        if not isinstance(value, Mapping):
            raise ReportError(f"{name} must be a JSON object")
    attested = attestation.read(certificate)
    if audience == "public":
        evidence, decision = whitelist.public_evidence(evidence), whitelist.public_decision(decision)
        attested = whitelist.public_attestation(attested) if attested else None
        sections = _public(evidence, decision, attested)
    else:
        sections = _public(evidence, decision, attested) | _reviewer(evidence, decision, attested)
    return _environment().get_template(f"{audience}.html.j2").render(sections)


def _public(evidence: Mapping[str, Any], decision: Mapping[str, Any], attested: Mapping[str, Any] | None) -> dict[str, Any]:
    from reports.sections import budget, dictionary, guarantee, limits, reference, release, rules
    from reports.sections import decision as verdict

    return {
        "decision": verdict.build(evidence, decision),
        "release": release.build(evidence),
        "guarantee": guarantee.build(evidence, decision),
        "budget": budget.build(evidence),
        "rules": rules.build(evidence, decision),
        "dictionary": dictionary.build(evidence),
        "limits": limits.build(evidence),
        "reference": reference.build(decision, attested, reviewer=False),
        "running": _running(evidence),
        "signed": ev.flag(ev.at(evidence, "certificate.signed")),
    }


def _reviewer(evidence: Mapping[str, Any], decision: Mapping[str, Any], attested: Mapping[str, Any] | None) -> dict[str, Any]:
    from reports.sections import audits, fidelity, provenance, reference, signoff

    return {
        "audits": audits.build(evidence, decision),
        "fidelity": fidelity.build(evidence, decision),
        "provenance": provenance.build(evidence, attested),
        "signoff": signoff.build(evidence, decision),
        "reference": reference.build(decision, attested, reviewer=True),
    }


def _running(evidence: Mapping[str, Any]) -> str:
    """Line printed on every page. It stands in the stylesheet: only characters without meaning in CSS or HTML pass."""
    parts = []
    for label, path in (("release", "release.id"), ("sha256", "release.sha256")):
        value = ev.text(ev.at(evidence, path)) or ""
        if re.fullmatch(r"[A-Za-z0-9._-]{1,80}", value):
            parts.append(f"{label} {value[:32]}")
    return " - ".join(parts)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        cache_size=64,
    )
