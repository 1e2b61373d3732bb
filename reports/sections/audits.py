"""The audits: what each asked, what it found, how much it could have found; attacks beside their control.

Everything here is computed from real records and is not differentially private: reviewers only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reports import evidence as ev
from reports.catalogue import AUDITS, FAMILIES, OTHER, audit_title, position
from reports.figures.attack_bars import Attack, attack_bars
from reports.wording import NOT_STATED, VERDICT, anything, exact, neighbours, num, pct, span

_AUC = ("membership",)
_EPSILON = ("one_run_epsilon",)
_RISK = (
    "singling_out",
    "linkability",
    "attribute_inference",
    "outliers",
    "exact_copies",
    "anonymeter_singling_out",
    "anonymeter_linkability",
    "anonymeter_inference",
)
_MOST_DETAILS = 60
_MOST_RISKS = 12
_MOST_GROUPS = 60


def build(evidence: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    """Audits by family in the catalogue's order, figures of the attacks, and what was asked for but is missing."""
    audits = ev.mapping(evidence.get("audits"))
    results = {name: value for name, value in ev.named(audits.get("results")) if isinstance(value, Mapping)}
    names = sorted(results, key=position)
    limits = _limits(decision)
    families: dict[str, list[dict[str, Any]]] = {family: [] for family in FAMILIES}
    for name in names:
        family = AUDITS[name].family if name in AUDITS else OTHER
        families[family].append(_row(name, results[name]))
    verdict = VERDICT.get(str(audits.get("verdict")))
    risks, auc = (_attacks(wanted, names, results, limits, None) for wanted in (_RISK, _AUC))
    epsilon = _attacks(_EPSILON, names, results, limits, ev.number(ev.at(evidence, "claim.epsilon")))
    drill = _drill_down(names, results)
    return {
        "families": [(family, rows) for family, rows in families.items() if rows],
        "verdict": verdict,
        "tier": ev.text(audits.get("tier")) or NOT_STATED,
        "seen": _seen(ev.mapping(audits.get("rows"))),
        "alpha": num(audits.get("alpha"), NOT_STATED),
        "missing": [audit_title(n) for n in ev.strings(audits.get("requested")) if n not in results],
        "risk": attack_bars("fig-risk", "Attacks against a control", "share of attacks that succeed, and excess risk", risks)
        if risks
        else None,
        "drill": attack_bars(
            "fig-drill",
            "The same attacks, one secret or subset at a time",
            "share of attacks that succeed, and excess risk",
            drill,
        )
        if drill
        else None,
        "auc": attack_bars(
            "fig-auc",
            "Membership inference",
            "AUC: 0.5 is guessing, 1 is certainty",
            auc,
            about=(
                "How well the attack ranks people in the table above people left out: 0.5 is guessing, "
                "and the claim allows no more than the cap."
            ),
            reach=1.0,
            mark=0.5,
        )
        if auc
        else None,
        "epsilon": attack_bars(
            "fig-epsilon",
            "Privacy loss that this run proves",
            "epsilon, lower bound",
            epsilon,
            about=(
                "The loss that the coin flips of this run prove at least, against the claimed epsilon. "
                "Zero means that nothing was proved, not that nothing was lost."
            ),
            reach=epsilon[0].cap,
        )
        if epsilon
        else None,
        "groups": _groups(results),
        "similarity": _similarity(evidence),
        "content": _content(evidence),
        "claim": _claim(evidence),
    }


def _seen(rows: Mapping[str, Any]) -> str | None:
    """How much of the training table the attacks were given, where that is not all of it."""
    seen, trained = ev.number(rows.get("seen")), ev.number(rows.get("trained"))
    if seen is None or trained is None or seen >= trained:
        return None
    return f"the cohort and a sample of the others: {seen:,.0f} of {trained:,.0f} rows"


def _row(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    low, high = ev.interval(result.get("interval"))
    entry = AUDITS.get(name)
    detectable = ev.number(result.get("detectable"))
    # the state of a betting test is kept for the next run, not for readers; groups have a table of their own
    details = list(_flatten({k: v for k, v in ev.mapping(result.get("details")).items() if k not in ("state", "groups")}))
    return {
        "title": audit_title(name),
        "question": entry.question if entry else "",
        # anything that is not one of the three verdicts counts as no verdict
        "verdict": VERDICT.get(str(result.get("verdict")), VERDICT["INCONCLUSIVE"]),
        "value": num(result.get("value")),
        "interval": span(low, high),
        "confidence": pct(result.get("confidence"), ""),
        "n": num(result.get("n"), NOT_STATED),
        "detectable": num(detectable, NOT_STATED),
        "unit": ev.text(result.get("detectable_unit")) if detectable is not None else None,
        "reason": ev.text(result.get("reason")) or "",
        "p": num(result["p_value"]) if ev.number(result.get("p_value")) is not None else None,
        "e": num(result["e_value"]) if ev.number(result.get("e_value")) is not None else None,
        "details": details[:_MOST_DETAILS],
        "more": max(len(details) - _MOST_DETAILS, 0),
    }


def _flatten(tree: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    for key, value in ev.named(tree):
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            if depth < 4:
                yield from _flatten(value, f"{path} › ", depth + 1)
        elif isinstance(value, (list, tuple)) and (len(value) > 12 or any(isinstance(v, (Mapping, list, tuple)) for v in value)):
            if value and all(isinstance(v, Mapping) for v in value) and len(value) <= 12 and depth < 4:
                for i, item in enumerate(value, 1):
                    yield from _flatten(item, f"{path} {i} › ", depth + 1)
            else:
                yield path, f"{len(value):,} values"
        else:
            yield path, anything(value)


def _limits(decision: Mapping[str, Any]) -> dict[str, float]:
    """The tightest limit on the upper bound of each audit; a limit on a lower bound is another question, not drawn."""
    out: dict[str, float] = {}
    for finding in ev.records(decision.get("findings")):
        path = ev.metric_path(ev.text(finding.get("metric")) or "")
        threshold = ev.number(finding.get("threshold"))
        if not path.startswith("audits.results.") or path.count(".") != 2 or threshold is None:
            continue
        if finding.get("op") in ("<=", "<") and finding.get("statistic") != "ci_lower":
            name = path.split(".")[2]
            out[name] = min(threshold, out.get(name, threshold))
    return out


def _attacks(
    wanted: tuple[str, ...],
    names: list[str],
    results: Mapping[str, Mapping[str, Any]],
    limits: Mapping[str, float],
    cap: float | None,
) -> list[Attack]:
    attacks = []
    for audit in (n for n in names if n in wanted):
        result = results[audit]
        details = ev.mapping(result.get("details"))
        low, high = ev.interval(result.get("interval"))
        worst = ev.mapping(ev.mapping(details.get("risks")).get(str(details.get("worst"))))
        attack = Attack(
            title=audit_title(audit),
            value=ev.number(result.get("value")),
            low=low,
            high=high,
            members=_either(details, worst, "on_members"),
            control=_either(details, worst, "on_strangers"),
            baseline=ev.number(details.get("baseline")),
            cap=ev.number(details.get("auc_cap")) if cap is None else cap,
            limit=limits.get(audit),
        )
        if any(v is not None for v in (attack.value, attack.members, attack.control)):
            attacks.append(attack)
    return attacks


def _drill_down(names: list[str], results: Mapping[str, Mapping[str, Any]]) -> list[Attack]:
    """Attacks that consist of several: each secret, each subset of people."""
    attacks = []
    for audit in names:
        risks = ev.named(ev.at(results[audit], "details.risks"))
        for label, entry in risks[:_MOST_RISKS] if len(risks) > 1 else ():
            risk = ev.mapping(entry)
            attacks.append(
                Attack(
                    title=f"{audit_title(audit)}: {label}",
                    value=ev.number(risk.get("value")),
                    low=ev.number(risk.get("low")),
                    high=ev.number(risk.get("high")),
                    members=ev.number(risk.get("on_members")),
                    control=ev.number(risk.get("on_strangers")),
                )
            )
    return attacks


def _groups(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Attacks on each level of each group column, as the outlier audit gives them."""
    rows = []
    for group in ev.records(ev.at(results.get("outliers"), "details.groups"))[:_MOST_GROUPS]:
        area = ev.mapping(group.get("membership"))
        risks = [
            f"{label} {num(ev.at(risk, 'value'))} ({span(None, ev.at(risk, 'high')) or 'no bound'})"
            for label, risk in ev.named(group.get("risks"))
        ]
        rows.append(
            (
                f"{ev.text(group.get('field')) or '?'}: {ev.text(group.get('level')) or '?'}",
                num(group.get("units")),
                f"{num(area.get('auc'))} {span(area.get('low'), area.get('high'))}".strip(),
                ", ".join(risks) or "not measured",
            )
        )
    return rows


def _either(details: Mapping[str, Any], worst: Mapping[str, Any], key: str) -> float | None:
    value = ev.number(details.get(key))
    return ev.number(worst.get(key)) if value is None else value


def _similarity(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    similarity = ev.mapping(evidence.get("similarity"))
    if not similarity:
        return []
    return [
        ("Closer to a real row than to a control row", pct(similarity.get("dcr_share"))),
        ("Rows that match a real row exactly", pct(similarity.get("identical_match_share"))),
    ]


def _content(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    content = ev.mapping(evidence.get("content"))
    if not content:
        return []
    return [
        ("Valid card numbers outside test ranges", num(content.get("luhn_valid_pan_outside_test_bins"))),
        ("Columns that look like identifiers", ", ".join(ev.strings(content.get("identifier_like_columns"))) or "none"),
        ("Rows that break a declared relation", num(content.get("constraint_violations"), NOT_STATED)),
    ]


def _claim(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    claim = ev.mapping(evidence.get("claim"))
    if not claim:
        return []
    unit = ev.text(claim.get("unit")) or "unit"
    return [
        ("Privacy unit", unit),
        ("Rows per unit, at most", num(claim.get("max_rows"), NOT_STATED)),
        ("Neighbouring tables", neighbours(claim.get("neighbours"), unit)),
        ("Epsilon, delta", f"{exact(claim.get('epsilon'))}, {exact(claim.get('delta'))}"),
        ("Rho", exact(claim.get("rho"))),
        ("Digest", ev.text(claim.get("digest")) or NOT_STATED),
    ]
