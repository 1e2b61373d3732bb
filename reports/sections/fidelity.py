"""Fidelity, usefulness and fairness, each with its sampling floor. Computed from real records: reviewers only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.figures.association import association
from reports.figures.canvas import Figure
from reports.figures.error_ladder import error_ladder
from reports.figures.group_bars import Group, group_bars
from reports.figures.overlay import Shares, overlay
from reports.figures.usefulness import Task, usefulness
from reports.wording import num

_MOST_COLUMNS = 36
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
    tasks = [
        Task(
            target=ev.text(t.get("target")) or "?",
            metric={"auc": "AUC", "r2": "R²"}.get(str(t.get("metric")), ev.text(t.get("metric")) or "score"),
            synthetic=ev.number(t.get("train_on_synthetic")),
            real=ev.number(t.get("train_on_real")),
            baseline=ev.number(t.get("baseline")),
        )
        for t in ev.records(fidelity.get("tstr"))[:60]
    ]
    return usefulness(tasks) if tasks else None


def _group(value: Mapping[str, Any]) -> Group:
    error, floor = ev.number(value.get("tv2")), ev.number(value.get("floor"))
    ratio = ev.number(value.get("ratio"))
    if ratio is None and error is not None and floor:
        ratio = error / floor
    return Group(
        ev.text(value.get("field")) or "?",
        ev.text(value.get("level")) or "?",
        ev.number(value.get("share")),
        error,
        floor,
        ratio,
    )


def _groups(fidelity: Mapping[str, Any], decision: Mapping[str, Any]) -> Figure | None:
    groups = [_group(g) for g in ev.records(fidelity.get("groups"))]
    limit = None
    for finding in ev.records(decision.get("findings")):
        if finding.get("metric") == "fidelity.subgroup_error_ratio_max":
            limit = ev.number(finding.get("threshold"))
    return group_bars(groups, limit) if groups else None


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
    return [
        ("Random range queries, mean absolute error", num(queries.get("mean_abs_error")), num(queries.get("floor"))),
        (
            "Telling real from synthetic rows (AUC; 0.5 is impossible)",
            num(propensity.get("value")),
            num(propensity.get("floor")),
        ),
        ("Largest error of a group, relative to everybody", num(fidelity.get("subgroup_error_ratio_max")), ""),
        ("Rare categories kept", num(rare.get("kept")), ""),
        ("Rare categories lost", num(rare.get("lost")), ""),
        ("Rare categories invented", num(rare.get("invented")), ""),
    ]
