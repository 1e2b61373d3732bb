"""A fitted distribution under the declared relations: impossible cells emptied, determined columns made functions of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dpsynth.constraints.condition import Column
from dpsynth.constraints.relations import Determines, Forbidden
from dpsynth.constraints.support import support_of
from dpsynth.errors import ConfigError
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.lifting import lifted
from dpsynth.pgm.triples import TreeMarginals

if TYPE_CHECKING:
    from dpsynth.model import SyntheticModel

Table = npt.NDArray[np.float64]

# Cells of a model that is enlarged so that the columns of a relation meet in one table.
_MOST_CELLS = 3_000_000


@dataclass(frozen=True)
class Lawful:
    """``beliefs`` give no mass to impossible cells. ``learned`` maps the place of determining values to the value of a field, NaN for
    missing.
    """

    beliefs: Beliefs
    learned: Mapping[str, Table]


def lawful(model: SyntheticModel) -> Lawful:
    """The distribution of ``model`` given its relations, as far as its levels show them.

    The model conditioned on every mask whose columns meet in one table of at most a few million cells. Then, for each function without
    a public map, P(x) 1[b = f(a)] / P(b | a) with f(a) the likeliest b: a keeps its distribution, all else follows b = f(a).
    """
    homes = list(model.beliefs.homes)
    encoder = model.encoder
    if encoder is None or not encoder.schema.relations:
        return Lawful(model.beliefs, {})
    sizes = model.beliefs.tree.sizes
    support = support_of(encoder, model.model_domain, model.recoding).within(
        sizes, _MOST_CELLS, model.beliefs.tree.cliques, model.domain.unit_axes
    )
    beliefs = lifted(model.beliefs, support.cliques, [*homes, *support.cliques], model.domain.unit_axes)
    if support.masks:
        beliefs.update(dict(support.masks))
        if not beliefs.tables[0].sum() > 0.0:
            raise ConfigError(
                "the model gives no probability to rows that satisfy dp:constraints; fit it with the schema that declares them"
            )
    learned: dict[str, Table] = {}
    for relation in encoder.schema.relations.learned:
        axes = tuple(model.domain.names.index(name) for name in relation.fields)
        joint = _fine(model, relation.fields, TreeMarginals(beliefs).table(axes))
        chosen = _likeliest(model, relation, joint)
        learned[relation.field] = np.where(chosen == relation.size, np.nan, chosen)
        clique = tuple(sorted(axes))
        if clique in beliefs.homes:
            beliefs.update({clique: _followed(model, relation, joint, chosen, clique)})
    return Lawful(beliefs, learned)


def _fine(model: SyntheticModel, names: tuple[str, ...], table: Table) -> Table:
    """A table over merged levels as one over all levels."""
    for axis, name in enumerate(names):
        if name in model.recoding.levels:
            share = model.shares_within(name)
            table = np.take(table, model.recoding.levels[name], axis=axis) * share.reshape(
                [-1 if i == axis else 1 for i in range(table.ndim)]
            )
    return table


def _likeliest(model: SyntheticModel, relation: Determines, joint: Table) -> npt.NDArray[np.int64]:
    """Per combination of determining values the likeliest value that no relation on the same columns forbids; by its own share where
    the combination has no mass.
    """
    flat = joint.reshape(-1, joint.shape[-1])
    alone = flat.sum(axis=0) / max(float(flat.sum()), 1e-300)
    score = np.where(flat.sum(axis=1, keepdims=True) > 0.0, flat, alone)
    assert model.encoder is not None
    places = np.indices(joint.shape).reshape(joint.ndim, -1)
    columns = {
        name: Column(place.astype(np.float64), model.encoder.schema[name].nullable & (place == size - 1))
        for name, place, size in zip(relation.fields, places, joint.shape, strict=True)
    }
    for other in model.encoder.schema.relations:
        if isinstance(other, Forbidden) and set(other.fields) <= set(relation.fields):
            score = np.where(other.violated(columns).reshape(score.shape), -1.0, score)
    return np.asarray(score.argmax(axis=1))


def _followed(model: SyntheticModel, relation: Determines, joint: Table, chosen: npt.NDArray[np.int64], clique: tuple[int, ...]) -> Table:
    """The factor over merged levels that turns the field into its function of the others."""
    flat = joint.reshape(-1, joint.shape[-1])
    moved = np.zeros_like(flat)
    # Mass that sits on combinations whose likeliest value has none (a forbidden one was likelier) is lost rather than invented.
    moved[np.arange(len(flat)), chosen] = np.where(flat[np.arange(len(flat)), chosen] > 0.0, flat.sum(axis=1), 0.0)
    old, new = joint, moved.reshape(joint.shape)
    for axis, name in enumerate(relation.fields):
        old, new = _merged(model, name, old, axis), _merged(model, name, new, axis)
    factor = np.divide(new, old, out=np.zeros_like(new), where=old > 0.0)
    order = [model.domain.names.index(name) for name in relation.fields]
    return np.ascontiguousarray(factor.transpose([order.index(a) for a in clique]))


def _merged(model: SyntheticModel, name: str, table: Table, axis: int) -> Table:
    levels = model.recoding.levels.get(name)
    if levels is None:
        return table
    out = np.zeros((int(levels.max()) + 1, *np.delete(table.shape, axis)))
    np.add.at(out, levels, np.moveaxis(table, axis, 0))
    return np.moveaxis(out, 0, axis)
