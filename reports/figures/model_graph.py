"""Dependency graph: which marginals the model was fitted to and how noisy each measurement was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.figures.canvas import INK, MUTED, SYNTHETIC, Canvas, Figure, mix, short, xy
from reports.wording import NOT_STATED, num

_ROW, _PILL = 30.0, 22.0


@dataclass(frozen=True)
class Clique:
    """Columns measured together, with the standard deviation of the noise in one cell, in records."""

    columns: tuple[str, ...]
    stddev: float | None


def model_graph(columns: Sequence[str], cliques: Sequence[Clique]) -> Figure:
    """A forest drawn from its centres to the right; other edges are dashed. Thick, dark edges carry little noise."""
    nodes = sorted(set(columns) | {c for clique in cliques for c in clique.columns})
    noise = {name: None for name in nodes} | {c.columns[0]: c.stddev for c in cliques if len(c.columns) == 1}
    edges: dict[tuple[str, str], float | None] = {}
    for clique in cliques:
        for i, a in enumerate(clique.columns):
            for b in clique.columns[i + 1 :]:
                if a != b:
                    edges.setdefault((min(a, b), max(a, b)), clique.stddev)
    near: dict[str, list[str]] = {n: [] for n in nodes}
    for a, b in sorted(edges):
        near[a].append(b)
        near[b].append(a)
    trees = [_tree(component, near) for component in _components([n for n in nodes if near[n]], near)]
    alone = [n for n in nodes if not near[n]]
    pill = 18 + 6.6 * max((min(len(n), 18) for n in nodes), default=4)
    deepest = max((depth for _, depth in [p for t in trees for p in t[1].values()]), default=0)
    step = max(pill + 84, min(210.0, (900.0 - pill) / max(deepest, 1)))
    place: dict[str, tuple[float, float]] = {}
    offset = 12.0
    for _, slots in trees:
        for node, (slot, depth) in slots.items():
            place[node] = (4 + depth * step, offset + slot * _ROW)
        offset += (max(slot for slot, _ in slots.values()) + 1) * _ROW + 8
    per_line = max(int((deepest * step + pill) // (pill + 10)), 4) if trees else 7
    top = offset + (20 if alone else 0)
    for i, node in enumerate(alone):
        place[node] = (4 + (i % per_line) * (pill + 10), top + (i // per_line) * _ROW)
    height = max((y for _, y in place.values()), default=0) + _PILL + 16
    width = max((x for x, _ in place.values()), default=0) + pill + 8
    canvas = Canvas(max(width, 420), height)
    known = [s for s in edges.values() if s is not None and s > 0]
    least, most = min(known, default=1.0), max(known, default=1.0)
    forest = {edge for edges_of, _ in trees for edge in edges_of}
    for (a, b), stddev in sorted(edges.items(), key=lambda e: (e[0] in forest, e[0])):
        _edge(canvas, place, a, b, pill, stddev, least, most, (a, b) in forest)
    for (a, b), stddev in sorted(edges.items()):
        if (a, b) in forest:
            (_, _), (xb, yb) = sorted((place[a], place[b]))
            # beside the child: a child has one parent, so no two labels meet
            words = f"±{num(stddev, '?')}"
            wide = 6.0 * len(words) + 4
            canvas.rect(xb - 26 - wide / 2, yb + 3, wide, _PILL - 6, "#fff")
            canvas.text(xb - 26, yb + _PILL / 2 + 3.5, words, size=10, anchor="middle", fill=INK)
    for node in nodes:
        x, y = place[node]
        canvas.rect(
            x,
            y,
            pill,
            _PILL,
            "#fff" if near[node] else "#f3f5f7",
            stroke=SYNTHETIC if near[node] else MUTED,
            rx=5,
            tip=f"{node}: noise ±{num(noise[node], '?')}",
        )
        canvas.text(x + pill / 2, y + 15, short(node, 18), size=11.5, anchor="middle")
    if alone and trees:
        canvas.text(4, top - 8, "modelled on their own", size=10.5, fill=MUTED)
    title = "What was measured, and how noisily"
    desc = (
        f"A graph of {len(nodes)} columns and {len(edges)} measured dependencies. The number on an edge "
        "is the standard deviation of its noise, in records per cell; thick, dark edges carry less."
    )
    rows = [(c.columns[0], "column alone", num(c.stddev, NOT_STATED)) for c in cliques if len(c.columns) == 1]
    rows += [
        (" × ".join(c.columns), f"{len(c.columns)} columns together", num(c.stddev, NOT_STATED)) for c in cliques if len(c.columns) > 1
    ]
    return Figure(
        "fig-model",
        title,
        desc,
        canvas.svg("fig-model", title, desc),
        ("Marginal", "Kind", "Noise, standard deviation"),
        tuple(rows),
        (
            "Edges carry the noise of their measurement in records per cell; thick, dark edges carry "
            "less. Pairs without an edge are related only through the columns between them."
        ),
    )


def _components(nodes: Sequence[str], near: dict[str, list[str]]) -> list[list[str]]:
    seen: set[str] = set()
    out = []
    for start in nodes:
        if start not in seen:
            group = list(_distances(start, near))
            seen.update(group)
            out.append(group)
    return sorted(out, key=lambda g: (-len(g), min(g)))


def _distances(start: str, near: dict[str, list[str]]) -> dict[str, int]:
    found = {start: 0}
    queue = [start]
    for node in queue:
        for other in near[node]:
            if other not in found:
                found[other] = found[node] + 1
                queue.append(other)
    return found


def _tree(group: Sequence[str], near: dict[str, list[str]]) -> tuple[list[tuple[str, str]], dict[str, tuple[float, int]]]:
    """Breadth-first tree from the centre of a component: its edges, each node's (slot, depth); a leaf takes a slot."""
    root = (
        min(group, key=lambda n: (max(_distances(n, near).values()), -len(near[n]), n))
        if len(group) <= 120
        else min(group, key=lambda n: (-len(near[n]), n))
    )
    depth = _distances(root, near)
    children: dict[str, list[str]] = {n: [] for n in group}
    edges = []
    for node in depth:
        if node != root:
            parent = min((p for p in near[node] if depth[p] == depth[node] - 1), key=lambda p: (-len(near[p]), p))
            children[parent].append(node)
            edges.append((min(node, parent), max(node, parent)))
    slots: dict[str, tuple[float, int]] = {}
    # children first, without recursion: a chain of 2000 columns must not exhaust the stack
    order: list[str] = []
    stack = [root]
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(sorted(children[node], reverse=True))
    leaf = 0
    for node in order:
        if not children[node]:
            slots[node] = (float(leaf), depth[node])
            leaf += 1
    for node in reversed(order):
        if children[node]:
            mine = [slots[c][0] for c in children[node]]
            slots[node] = ((min(mine) + max(mine)) / 2, depth[node])
    return edges, slots


def _edge(
    canvas: Canvas,
    place: dict[str, tuple[float, float]],
    a: str,
    b: str,
    pill: float,
    stddev: float | None,
    least: float,
    most: float,
    solid: bool,
) -> None:
    (xa, ya), (xb, yb) = sorted((place[a], place[b]))
    share = 1.0 if stddev is None or most <= least else (most - stddev) / (most - least)
    colour = mix("#a9bccb", SYNTHETIC, share)
    middle = _PILL / 2
    if xa == xb:
        d = f"M{xy(xa + pill)} {xy(ya + middle)}c34 0 34 {xy(yb - ya)} 0 {xy(yb - ya)}"
    else:
        end = 54.0  # the label's stretch is straight
        bend = (xb - xa - pill - end) / 2
        d = (
            f"M{xy(xa + pill)} {xy(ya + middle)}C{xy(xa + pill + bend)} {xy(ya + middle)} "
            f"{xy(xb - end - bend)} {xy(yb + middle)} {xy(xb - end)} {xy(yb + middle)}H{xy(xb)}"
        )
    canvas.path(d, stroke=colour, width=1.2 + 2.6 * share, dash="" if solid else "4 3")
