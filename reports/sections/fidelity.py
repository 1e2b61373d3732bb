"""Fidelity, usefulness and fairness, each with its sampling floor. Computed from real records: reviewers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports import evidence as ev
from reports.figures.association import association
from reports.figures.canvas import BAD, INK, MUTED, SYNTHETIC, WARN, Figure, ticks
from reports.figures.error_ladder import error_ladder
from reports.figures.lanes import Guide, Lane, Mark, lanes
from reports.figures.overlay import Shares, overlay
from reports.wording import num, pct

_MOST_COLUMNS = 36
_MOST_GROUPS = 40
_MOST_TASKS = 60
_REAL_MODEL = "#6b7785"
_FATES = ("kept", "lost", "invented")
MISSING = "(missing)"  # the label of missing cells in fidelity figures


def build(evidence: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    """Figures for what was measured, None for what was not."""
    fidelity = ev.mapping(evidence.get("fidelity"))
    overlays, left_out = _overlays(evidence, fidelity)
    return {
        "measured": bool(fidelity),
        "ladder": _ladder(fidelity),
        "overlays": overlays,
        "left_out": left_out,
        "association": _association(fidelity),
        "usefulness": _usefulness(fidelity),
        "groups": _groups(fidelity, decision),
        "worst": _worst(fidelity),
        "facts": _facts(fidelity),
    }


def _ladder(fidelity: Mapping[str, Any]) -> Figure | None:
    steps: list[tuple[str, float | None, float | None, float | None]] = []
    for key, name in (("tv1", "one column"), ("tv2", "two columns"), ("tv3", "three columns")):
        part = ev.mapping(fidelity.get(key))
        if part:
            steps.append((name, _positive(part.get("mean")), _positive(part.get("max")), _positive(part.get("floor"))))
    return error_ladder(steps) if steps else None


def _positive(value: Any) -> float | None:
    x = ev.number(value)
    return None if x is None else max(x, 0.0)


def _overlays(evidence: Mapping[str, Any], fidelity: Mapping[str, Any]) -> tuple[list[Figure], int]:
    fields = {name: f for f in ev.records(ev.at(evidence, "schema.fields")) if (name := ev.text(f.get("name")))}
    order = {name: i for i, name in enumerate(fields)}
    found = []
    for name, column in sorted(ev.named(fidelity.get("columns")), key=lambda entry: order.get(entry[0], len(order))):
        part = ev.mapping(column)
        labels = [ev.text(v) or "" for v in ev.sequence(part.get("labels"))]
        real, synthetic = ([max(v or 0.0, 0.0) for v in ev.numbers(part.get(key))] for key in ("train", "synthetic"))
        if not labels or len(labels) != len(real) or len(labels) != len(synthetic):
            continue
        missing = None
        if MISSING in labels:
            i = labels.index(MISSING)
            missing = (real.pop(i), synthetic.pop(i))
            labels.pop(i)
        found.append(
            Shares(
                title=name,
                labels=labels,
                real=real,
                synthetic=synthetic,
                missing=missing,
                ordered=ev.at(fields.get(name), "ordered") is True,
                tv=ev.number(part.get("tv")),
                floor=ev.number(part.get("floor")),
            )
        )
    shown = found
    if len(found) > _MOST_COLUMNS:
        worst = sorted(range(len(found)), key=lambda i: (-(found[i].tv or 0.0), i))[:_MOST_COLUMNS]
        shown = [found[i] for i in sorted(worst)]
    return [overlay(i, shares) for i, shares in enumerate(shown)], len(found) - len(shown)


def _association(fidelity: Mapping[str, Any]) -> Figure | None:
    part = ev.mapping(fidelity.get("association"))
    columns = [ev.text(c) or "?" for c in ev.sequence(part.get("columns"))]
    real, synthetic = ([ev.numbers(row) for row in ev.sequence(part.get(k))] for k in ("train", "synthetic"))
    square = all(len(m) == len(columns) and all(len(row) == len(columns) for row in m) for m in (real, synthetic))
    return association(columns, real, synthetic) if columns and square else None


def _usefulness(fidelity: Mapping[str, Any]) -> Figure | None:
    """Scores of models trained on synthetic rows, between a baseline and models trained on real rows. Higher is better."""
    items, rows = [], []
    for task in ev.records(fidelity.get("tstr"))[:_MOST_TASKS]:
        target = ev.text(task.get("target")) or "?"
        metric = {"auc": "AUC", "r2": "R²"}.get(str(task.get("metric")), ev.text(task.get("metric")) or "score")
        synthetic, real, baseline = (ev.number(task.get(key)) for key in ("train_on_synthetic", "train_on_real", "baseline"))
        others = ev.number(task.get("train_on_control"))
        marks = (
            *((Mark("dot", MUTED, others),) if others is not None else ()),
            *(Mark("box", _REAL_MODEL, real), Mark("dot", SYNTHETIC, synthetic), Mark("ring", MUTED, baseline)),
        )
        items.append(Lane(f"{target} ({metric})", num(synthetic), f"of {num(real, '?')}", marks=marks, tone=SYNTHETIC))
        rows.append((target, metric, num(baseline), num(synthetic), num(real), num(others)))
    if not items:
        return None
    return lanes(
        "fig-usefulness",
        "Train on synthetic, test on real",
        "For each target: the score of a trivial baseline, of a model trained on the synthetic table and of one trained on the real "
        "table, all tested on real rows. A score below 0 is drawn at 0.",
        items,
        ticks=(0.0, 0.25, 0.5, 0.75, 1.0),
        axis="score on real rows that no model saw (higher is better)",
        entries=[
            ("ring", MUTED, "baseline"),
            ("dot", SYNTHETIC, "trained on synthetic"),
            ("box", _REAL_MODEL, "trained on real"),
            ("dot", MUTED, "trained on people left out"),
        ],
        step=32.0,
        columns=("Target", "Score", "Baseline", "Trained on synthetic", "Trained on real", "Trained on people left out"),
        rows=rows,
    )


@dataclass(frozen=True)
class _Group:
    """One level of a fairness group, with the mean 2-way error inside it."""

    field: str
    level: str
    share: float | None
    error: float | None
    floor: float | None
    ratio: float | None


def _group(value: Mapping[str, Any]) -> _Group:
    share, error, floor, ratio = (ev.number(value.get(key)) for key in ("share", "tv2", "floor", "ratio"))
    return _Group(ev.text(value.get("field")) or "?", ev.text(value.get("level")) or "?", share, error, floor, ratio)


def _groups(fidelity: Mapping[str, Any], decision: Mapping[str, Any]) -> Figure | None:
    """Error of each group over its sampling floor, relative to everybody; of more than 40 groups, the worst are drawn."""
    groups = [_group(g) for g in ev.records(fidelity.get("groups"))]
    if not groups:
        return None
    limit = None
    for finding in ev.records(decision.get("findings")):
        if finding.get("metric") == "fidelity.subgroup_error_ratio_max":
            limit = ev.number(finding.get("threshold"))
    shown = groups
    if len(shown) > _MOST_GROUPS:
        shown = sorted(shown, key=lambda g: (-(g.ratio if g.ratio is not None else float("inf")), g.field, g.level))[:_MOST_GROUPS]
    items = []
    for group in shown:
        over = limit is not None and group.ratio is not None and group.ratio > limit
        share = f"{pct(group.share)} of rows" if group.share is not None else ""
        items.append(
            Lane(
                f"{group.field}: {group.level}",
                f"{num(group.ratio)}×" if group.ratio is not None else "too few",
                share + (" · over" if over else ""),
                bar=group.ratio,
                colour=BAD if over else SYNTHETIC,
            )
        )
    marks = ticks(max([g.ratio for g in shown if g.ratio is not None] + [limit or 0.0, 1.0]))
    return lanes(
        "fig-groups",
        "Error by group",
        "For each group, the error of its two-column tables over their sampling floor, divided by the same for everybody: 1 means as "
        "well served as the rest.",
        items,
        ticks=marks,
        axis="error of two-column tables over its sampling floor, relative to everybody",
        entries=[
            ("box", SYNTHETIC, "relative error"),
            ("line", INK, "1 = as everybody"),
            *([("line", WARN, "policy limit")] if limit is not None else []),
        ],
        step=24.0,
        columns=("Field", "Level", "Share of rows", "Error", "Floor", "Ratio"),
        rows=[(g.field, g.level, pct(g.share), num(g.error), num(g.floor), num(g.ratio)) for g in shown],
        guides=[Guide(1.0, INK, 1.5), *([] if limit is None else [Guide(limit, WARN, 2.5)])],
        note="" if len(groups) <= _MOST_GROUPS else f"The {_MOST_GROUPS} groups with the largest ratios of {len(groups)}.",
    )


def _worst(fidelity: Mapping[str, Any]) -> str | None:
    worst = ev.mapping(fidelity.get("worst_group"))
    if not worst:
        return None
    group = _group(worst)
    return (
        f"Least well served: {group.field} = {group.level}, with {num(group.ratio)} times the error of everybody, "
        "each over its sampling floor."
    )


def _facts(fidelity: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    queries, propensity, rare = (ev.mapping(fidelity.get(k)) for k in ("range_queries", "propensity_auc", "rare"))
    associated = ev.mapping(ev.at(fidelity, "association.difference"))
    floor, pairs, tails = (ev.mapping(rare.get(k)) for k in ("floor", "pairs", "tails"))
    least = ev.mapping(propensity.get("worst_group"))
    return [
        ("Random range queries, mean absolute error", num(queries.get("mean_abs_error")), num(queries.get("floor"))),
        (
            "Telling real from synthetic rows (AUC; 0.5 is impossible)",
            num(propensity.get("value")),
            num(propensity.get("floor")),
        ),
        *(
            [(f"The same within the group most easily told, {least.get('field')}: {least.get('level')}", num(least.get("value")), "")]
            if least
            else []
        ),
        ("Associations of pairs of columns, mean absolute difference", num(associated.get("mean")), num(associated.get("floor"))),
        ("Largest error of a group, relative to everybody", num(fidelity.get("subgroup_error_ratio_max")), ""),
        *((f"Rare categories {fate}", num(rare.get(fate)), num(floor.get(fate), "")) for fate in _FATES),
        *((f"Rare pairs of categories {fate}", num(pairs.get(fate)), num(ev.at(pairs, f"floor.{fate}"), "")) for fate in _FATES if pairs),
        *(
            [("Rows in the tails, mean absolute error of their share", num(tails.get("mean_abs_error")), num(tails.get("floor")))]
            if tails
            else []
        ),
        *_lost_most(fidelity),
    ]


def _lost_most(fidelity: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """For each target the group whose predictions lose most by being learnt from the release, beside what train would have taught."""
    out = []
    for task in ev.records(fidelity.get("tstr"))[:_MOST_TASKS]:
        worst = ev.mapping(task.get("worst_group"))
        if worst:
            group = f"{worst.get('field')}: {worst.get('level')}"
            text = f"{ev.text(task.get('target')) or '?'}, learnt from the release (floor: from the real table), for {group}"
            out.append((text, num(worst.get("train_on_synthetic")), num(worst.get("train_on_real"))))
    return out
