"""What no mechanism of a kind can beat, computed from the records without privacy: columns on their own, the best tree, a fresh sample."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import CodedTable, code_dtype, count
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.pgm.sampling import sample


def shuffled(table: CodedTable, seed: int) -> CodedTable:
    """Exact one-way marginals, independent columns."""
    rng = np.random.default_rng(seed)
    return CodedTable(table.domain, {name: rng.permutation(codes) for name, codes in table.columns.items()})


def resampled(table: CodedTable, seed: int) -> CodedTable:
    """As many rows drawn from the table itself: the error of a perfect model that is sampled."""
    rng = np.random.default_rng(seed)
    return table.take(rng.integers(table.n_rows, size=table.n_rows))


def exact_tree(table: CodedTable, seed: int) -> CodedTable:
    """Rows of the spanning tree of most mutual information (Chow and Liu 1968), fitted to the exact marginals."""
    domain = table.domain
    names = domain.names
    edges = spanning_tree(table)
    tree = junction_tree([a.size for a in domain], [[names.index(name) for name in edge] for edge in edges])
    tables = [count(table, [names[a] for a in clique]).astype(np.float64) for clique in tree.cliques]
    rows = sample(Beliefs.of_tables(tree, tables, float(table.n_rows)), table.n_rows, np.random.default_rng(seed))
    return CodedTable(domain, {a.name: codes.astype(code_dtype(a.size)) for a, codes in zip(domain, rows, strict=True)})


def spanning_tree(table: CodedTable) -> list[tuple[str, str]]:
    """Edges of the maximum spanning tree by mutual information (Kruskal)."""
    names = table.domain.names
    worth = {pair: _mutual_information(count(table, pair).astype(np.float64)) for pair in combinations(names, 2)}
    part = {name: name for name in names}
    edges = []
    for a, b in sorted(worth, key=lambda pair: -worth[pair]):
        if part[a] != part[b]:
            old, new = part[a], part[b]
            part = {name: new if p == old else p for name, p in part.items()}
            edges.append((a, b))
    return edges


def _mutual_information(joint: npt.NDArray[np.float64]) -> float:
    share = joint / max(1.0, joint.sum())
    apart = np.outer(share.sum(axis=1), share.sum(axis=0))
    seen = share > 0.0
    return float((share[seen] * np.log(share[seen] / apart[seen])).sum())
