"""The same distribution on a larger junction tree, so that more columns meet in one table. Exact: old cliques lie inside new ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import Axes, junction_tree
from dpsynth.pgm.triples import TreeMarginals


def lifted(beliefs: Beliefs, cliques: Sequence[Axes], targets: Iterable[Axes], first: Sequence[int] = ()) -> Beliefs:
    """A copy of ``beliefs`` in whose tree each of ``cliques`` (and of ``targets``) fits into one table; it starts with ``first``."""
    targets = list(targets)
    if all(beliefs.tree.home(clique) is not None for clique in [*cliques, *targets]):
        return Beliefs.of_tables(beliefs.tree, [table.copy() for table in beliefs.tables], beliefs.total, targets)
    tree = junction_tree(beliefs.tree.sizes, [*beliefs.tree.cliques, *cliques, *targets], first)
    marginals = TreeMarginals(beliefs)
    tables = [np.array(marginals.table(clique), order="C") for clique in tree.cliques]
    return Beliefs.of_tables(tree, tables, beliefs.total, targets)
