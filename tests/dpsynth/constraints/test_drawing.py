"""Rows under relations: none breaks one, and what is drawn is the model's distribution given them, written out on tiny domains."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest

from dpsynth.constraints import lawful
from dpsynth.constraints.checking import violations
from dpsynth.errors import ConfigError, SchemaError
from dpsynth.marginals import Recoding
from dpsynth.model import SyntheticModel, load
from tests.dpsynth.constraints.tables import day, joint_of, listed, model_of, number, schema, whole
from tests.dpsynth.pgm.joints import joint_of as joint_table

# Every statistical test below passes a right sampler with at least this probability; seeds are fixed all the same.
_P = 1e-6


def _fits(observed: npt.NDArray[Any], expected: npt.NDArray[Any]) -> bool:
    """Pearson's chi-square; draws that are more even than independent ones only lower it."""
    assert not np.any(observed[expected == 0.0])
    seen, wanted = observed[expected > 0.0], expected[expected > 0.0]
    statistic = float(((seen - wanted) ** 2 / wanted).sum())
    return statistic <= chi2.isf(_P, max(1, len(wanted) - 1))


def _counts(table: Any, names: list[str], levels: list[list[Any]]) -> npt.NDArray[np.float64]:
    found = joint_of(table, names)
    return np.array([found.get(combination, 0) for combination in itertools.product(*levels)], dtype=float).reshape(
        [len(x) for x in levels]
    )


ABC = [listed("a", "0", "1", "2"), listed("b", "0", "1", "2", "3", nullable=True), listed("c", "0", "1")]
LEVELS: list[list[Any]] = [["0", "1", "2"], ["0", "1", "2", "3", None], ["0", "1"]]
FORBIDDEN = [
    {"kind": "forbidden", "when": {"a": "0", "b": ["1", None]}},
    {"kind": "forbidden", "when": {"a": ["1", "2"], "b": "0", "c": "1"}},
]


def _allowed() -> npt.NDArray[np.bool_]:
    allowed = np.ones((3, 5, 2), dtype=bool)
    allowed[0, [1, 4]] = False
    allowed[1:, 0, 1] = False
    return allowed


@pytest.mark.parametrize("cliques", [[], [(0, 1)], [(0, 1, 2)]], ids=["independent", "a pair", "the joint"])
@pytest.mark.parametrize("in_tree", [True, False])
def test_forbidden_cells_have_no_rows_and_the_rest_keeps_its_proportions(
    cliques: list[tuple[int, ...]], in_tree: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_tree:
        # The model carries nothing, so every row is drawn until it is sound.
        monkeypatch.setattr(lawful, "_MOST_CELLS", 0)
    model = model_of(schema(ABC, *FORBIDDEN), seed=3, cliques=cliques)
    rows = 20_000
    joint = joint_table(model.beliefs)
    conditioned = np.where(_allowed(), joint, 0.0)
    table = model.sample(rows, seed=5)
    assert violations(model.encoder.schema, table)["rows"] == 0  # type: ignore[union-attr]
    observed = _counts(table, ["a", "b", "c"], LEVELS)
    assert _fits(observed, conditioned * rows / conditioned.sum())
    # The other side: the unconditioned model is told apart.
    assert not _fits(observed, np.where(_allowed(), joint, 0.0) ** 1.3 * rows / (np.where(_allowed(), joint, 0.0) ** 1.3).sum())


@pytest.mark.parametrize("strict", [False, True])
def test_two_numbers_in_one_bin_are_uniform_over_the_ordered_pairs(strict: bool) -> None:
    made = schema([whole("x", 0, 9, bins=1), whole("y", 0, 9, bins=1)], {"kind": "order", "fields": ["x", "y"], "strict": strict})
    rows = 30_000
    observed = _counts(model_of(made).sample(rows, seed=1), ["x", "y"], [list(range(10))] * 2)
    legal = np.triu(np.ones((10, 10)), 1 if strict else 0)
    assert _fits(observed, legal * rows / legal.sum())


def test_bins_that_overlap_keep_their_shares_and_nothing_piles_up_on_a_bound() -> None:
    made = schema([number("x", 0, 100, bins=[30]), number("y", 0, 100, bins=[60])], {"kind": "order", "fields": ["x", "y"]})
    model = model_of(made, seed=2, cliques=[(0, 1)])
    rows = 20_000
    table = model.sample(rows, seed=1)
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    assert (x <= y).all()
    # All four pairs of bins can be sound, so the model's shares stand.
    shares = joint_table(model.beliefs) / model.beliefs.total
    observed = np.array(
        [[((x < 30) & (y < 60)).sum(), ((x < 30) & (y >= 60)).sum()], [((x >= 30) & (y < 60)).sum(), ((x >= 30) & (y >= 60)).sum()]]
    )
    assert _fits(observed, shares * rows)
    # x and y both in 30..60 and ordered: the larger of two uniforms.
    both = (x >= 30) & (y < 60)
    assert kstest((y[both] - 30) / 30, lambda u: u**2).pvalue > _P
    assert kstest((x[both] - 30) / 30, lambda u: 1 - (1 - u) ** 2).pvalue > _P
    assert len(np.unique(x)) > 0.99 * rows


def test_a_chain_of_three_is_the_order_of_three_uniforms() -> None:
    fields = [number(name, 0, 1, bins=1) for name in "abc"]
    table = model_of(schema(fields, {"kind": "order", "fields": ["a", "b", "c"]})).sample(8000, seed=0)
    assert ((table["a"] <= table["b"]) & (table["b"] <= table["c"])).all()
    # Order statistics of three: Beta(1, 3), Beta(2, 2), Beta(3, 1).
    assert kstest(table["a"], "beta", args=(1, 3)).pvalue > _P
    assert kstest(table["b"], "beta", args=(2, 2)).pvalue > _P
    assert kstest(table["c"], "beta", args=(3, 1)).pvalue > _P
    assert kstest(table["b"], "beta", args=(1, 1)).pvalue < _P


def test_bins_that_meet_in_one_value_draw_it() -> None:
    made = schema([whole("x", 0, 5000, bins=[1000]), whole("y", 0, 5000, bins=[1001])], {"kind": "order", "fields": ["x", "y"]})
    model = model_of(made, seed=1, cliques=[(0, 1)])
    table = model.sample(4000, seed=0)
    meet = table[(table["x"] >= 1000) & (table["y"] <= 1000)]
    share = joint_table(model.beliefs)[1, 0] / model.beliefs.total
    assert len(meet) == pytest.approx(4000 * share, abs=1)
    assert set(meet["x"]) == set(meet["y"]) == {1000}


def test_missing_cells_are_passed_over_by_an_order() -> None:
    fields = [
        day("a", "2020-01-01", "2022-12-31"),
        day("b", "2021-01-01", "2022-12-31", nullable=True),
        day("c", "2020-01-01", "2023-12-31"),
    ]
    made = schema(fields, {"kind": "order", "fields": ["a", "b", "c"]})
    table = model_of(made, seed=4).sample(5000, seed=0)
    assert table["b"].isna().sum() > 100
    assert (table["a"] <= table["c"]).all()
    assert not (table["b"] < table["a"]).any() and not (table["b"] > table["c"]).any()


def test_dates_of_unlike_resolution_are_compared_as_written() -> None:
    fields = [
        day("born", "2000-01-01", "2010-12-31", resolution="year", bins=3),
        {
            "name": "seen",
            "type": "datetime",
            "constraints": {"minimum": "2001-05-05T00:00:00", "maximum": "2011-01-01T00:00:00"},
            "dp:bins": 4,
        },
    ]
    table = model_of(schema(fields, {"kind": "order", "fields": ["born", "seen"], "strict": True})).sample(3000, seed=0)
    assert (table["born"] < table["seen"]).all()


def test_a_total_is_the_sum_of_its_parts_to_the_last_cent() -> None:
    fields = [number("a", 0, 50, step=0.01), number("b", -20, 70, step=0.1), number("t", -10, 100), number("u", 0, 200, nullable=True)]
    parts = [{"kind": "sum", "total": "t", "parts": ["a", "b"]}, {"kind": "sum", "total": "u", "parts": ["t", "c"]}]
    made = schema([*fields, whole("c", 0, 60, nullable=True)], *parts)
    model = model_of(made, seed=1)
    assert model.domain.names == ("a", "b", "c")
    table = model.sample(5000, seed=0)
    cents = lambda name: np.rint(table[name].to_numpy(float, na_value=np.nan) * 100)  # noqa: E731
    assert (cents("t") == cents("a") + cents("b")).all()
    assert table["t"].between(-10, 100).all() and table["u"].dropna().between(0, 200).all()
    assert (table["u"].isna() == table["c"].isna()).all() and table["u"].isna().any()
    known = table["u"].notna()
    assert (cents("u")[known] == (cents("t") + cents("c"))[known]).all()
    # Written without the digits that sums of floats grow.
    assert max(len(str(value).partition(".")[2]) for value in table["t"]) <= 2


def test_a_public_map_is_followed_and_its_column_is_not_modelled() -> None:
    fields = [listed("county", "x1", "x2", "y1", nullable=True), listed("state", "X", "Y", nullable=True), whole("zone", 0, 9)]
    made = schema(
        fields,
        {"kind": "determines", "by": "county", "field": "state", "map": {"x1": "X", "x2": "X", "y1": "Y"}, "default": None},
        {"kind": "determines", "by": ["county", "state"], "field": "zone", "map": [["x1", "X", 3], ["y1", "Y", 5]], "default": 0},
    )
    model = model_of(made)
    assert model.domain.names == ("county",)
    table = model.sample(1000, seed=0)
    states = {"x1": "X", "x2": "X", "y1": "Y"}
    assert [states.get(c) for c in table["county"]] == table["state"].where(table["state"].notna(), None).tolist()
    assert table["zone"].tolist() == [{"x1": 3, "y1": 5}.get(c, 0) for c in table["county"]]


def test_without_a_map_each_value_has_its_likeliest_partner_and_the_rest_follows() -> None:
    fields = [listed("a", "0", "1", "2"), listed("b", "0", "1", "2", "3"), listed("c", "0", "1")]
    model = model_of(schema(fields, {"kind": "determines", "by": "a", "field": "b"}), seed=6, cliques=[(0, 1, 2)])
    joint = joint_table(model.beliefs) / model.beliefs.total
    best = joint.sum(axis=2).argmax(axis=1)
    # P(a) P(c | a, f(a)), with b = f(a).
    expected = np.zeros_like(joint)
    for a, b in enumerate(best):
        expected[a, b] = joint[a].sum() * joint[a, b] / joint[a, b].sum()
    rows = 20_000
    observed = _counts(model.sample(rows, seed=1), ["a", "b", "c"], [["0", "1", "2"], ["0", "1", "2", "3"], ["0", "1"]])
    assert _fits(observed, expected * rows)
    # Conditions on the determined column are exact, too.
    b = str(best[0])
    given_b = model.sample(500, seed=1, where={"b": b})
    assert set(given_b["b"]) == {b} and set(given_b["a"]) == {str(a) for a in range(3) if best[a] == best[0]}


def test_a_learned_map_never_picks_a_forbidden_pair() -> None:
    fields = [listed("a", "0", "1"), listed("b", "0", "1", "2")]
    relations = ({"kind": "determines", "by": "a", "field": "b"}, {"kind": "forbidden", "when": {"a": "0", "b": ["0", "1"]}})
    for seed in range(5):
        table = model_of(schema(fields, *relations), seed=seed, cliques=[(0, 1)]).sample(300, seed=0)
        assert set(table.loc[table["a"] == "0", "b"]) == {"2"}
        assert table.loc[table["a"] == "1", "b"].nunique() == 1


def test_missing_where_it_must_be_and_nowhere_it_must_not() -> None:
    fields = [listed("died", "no", "yes"), day("on", "2020-01-01", "2020-12-31", nullable=True), whole("age", 0, 99, bins=[50])]
    made = schema(
        fields,
        {"kind": "notNullIf", "field": "on", "when": {"died": "yes"}},
        {"kind": "nullIf", "field": "on", "when": {"died": "no"}},
        {"kind": "forbidden", "when": {"age": {"minimum": 20, "maximum": 29}, "died": "yes"}},
    )
    table = model_of(made, seed=2).sample(4000, seed=0)
    assert (table["on"].notna() == (table["died"] == "yes")).all()
    young = table[table["died"] == "yes"]["age"]
    assert not young.between(20, 29).any() and (young < 20).any() and young.between(30, 49).any()


def test_merged_levels_are_told_apart_lawfully() -> None:
    fields = [listed("a", *map(str, range(6))), listed("b", "0", "1")]
    made = schema(fields, {"kind": "forbidden", "when": {"a": ["3", "5"], "b": "1"}})
    plain = model_of(made, seed=1)
    from dpsynth.pgm.beliefs import Beliefs
    from dpsynth.pgm.junction_tree import junction_tree

    levels, within = np.array([0, 1, 2, 3, 3, 3]), np.array([5.0, 4.0, 3.0, 2.0, 1.0, 1.0])
    beliefs = Beliefs(junction_tree((4, 2), []), [np.array([5.0, 4.0, 3.0, 4.0]), np.array([1.0, 1.0])], 1000.0)
    model = SyntheticModel(
        "toy", plain.domain, beliefs, 1000.0, (), plain.transcript, Recoding({"a": levels}), {"a": within}, plain.encoder
    )
    rows = 20_000
    table = model.sample(rows, seed=0)
    joint = np.outer(within, [0.5, 0.5])
    joint[[3, 5], 1] = 0.0
    observed = _counts(table, ["a", "b"], [[str(i) for i in range(6)], ["0", "1"]])
    assert _fits(observed, joint * rows / joint.sum())
    assert set(model.sample(200, seed=0, where={"a": ["3", "4"], "b": "1"})["a"]) == {"4"}


def test_a_model_keeps_its_relations_in_its_file(tmp_path: Any) -> None:
    model = model_of(schema(ABC, *FORBIDDEN), seed=3, cliques=[(0, 1, 2)])
    model.save(tmp_path / "m.model")
    assert load(tmp_path / "m.model").sample(500, seed=1).equals(model.sample(500, seed=1))
    np.testing.assert_allclose(model.marginal(["a", "b", "c"]).values[~_allowed()], 0.0)


def test_relations_that_the_model_rules_out_are_an_error_not_a_bad_row() -> None:
    made = schema([listed("a", "0", "1"), listed("b", "0", "1")], {"kind": "forbidden", "when": {"a": "0", "b": "0"}})
    model = model_of(made, cliques=[(0, 1)])
    model.beliefs.tables[0][...] = np.where(np.indices((2, 2)).sum(axis=0) == 0, 1000.0, 0.0)
    with pytest.raises(ConfigError, match="no probability"):
        model.sample(10, seed=0)


# --- any relations on any columns ---------------------------------------------------------------------------------------------------

_TYPES = {"listed": ("string",), "number": ("integer", "number"), "date": ("date",)}
_KINDS = st.sampled_from(["listed", "listed", "boolean", "whole", "number", "steps", "day"])


@st.composite
def _fields(draw: st.DrawFn) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    for place in range(draw(st.integers(2, 5))):
        name, kind, nullable = f"c{place}", draw(_KINDS), draw(st.booleans())
        low = draw(st.integers(-5, 5))
        high = low + draw(st.integers(1, 12))
        bins = draw(st.sampled_from([1, 2, 3]))
        if kind == "listed":
            fields.append(listed(name, *map(str, range(draw(st.integers(1, 5)))), nullable=nullable))
        elif kind == "boolean":
            fields.append({"name": name, "type": "boolean", "dp:nullable": nullable})
        elif kind == "whole":
            fields.append(whole(name, low, high, bins=bins, nullable=nullable))
        elif kind == "day":
            fields.append(day(name, f"2020-01-{low + 6:02d}", f"2020-02-{high + 6:02d}", bins=bins, nullable=nullable))
        else:
            fields.append(number(name, low, high, bins=bins, nullable=nullable, step=0.5 if kind == "steps" else None))
    return fields


@st.composite
def _condition(draw: st.DrawFn, field: dict[str, Any]) -> Any:
    if field["dp:nullable"] and draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from([None, {"missing": False}]))
    if field["type"] == "string":
        return draw(st.lists(st.sampled_from(field["categories"]), min_size=1, max_size=3, unique=True))
    if field["type"] == "boolean":
        return draw(st.booleans())
    low, high = field["constraints"]["minimum"], field["constraints"]["maximum"]
    cut = draw(st.sampled_from([low, high])) if isinstance(low, str) else draw(st.integers(low, high))
    return {draw(st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])): cut}


@st.composite
def _relation(draw: st.DrawFn, fields: list[dict[str, Any]]) -> dict[str, Any]:
    """A relation that the types of the columns allow; whether it contradicts another one is for the schema to find."""
    of = {kind: [f for f in fields if f["type"] in kinds] for kind, kinds in _TYPES.items()}
    nullable = [field for field in fields if field["dp:nullable"]]
    possible = {
        "forbidden": True,
        "order of numbers": len(of["number"]) > 1,
        "order of dates": len(of["date"]) > 1,
        "sum": len(of["number"]) > 2,
        "determines": len(of["listed"]) > 1,
        "map": len(of["listed"]) > 1,
        "notNullIf": bool(nullable),
        "nullIf": bool(nullable),
    }
    kind = draw(st.sampled_from([kind for kind, can in possible.items() if can]))
    few = st.integers(2, 3)
    if kind.startswith("order"):
        chosen = draw(st.permutations(of["date" if "dates" in kind else "number"]))[: draw(few)]
        return {"kind": "order", "fields": [field["name"] for field in chosen], "strict": draw(st.booleans())}
    if kind == "sum":
        total, *parts = draw(st.permutations(of["number"]))
        return {"kind": kind, "total": total["name"], "parts": [field["name"] for field in parts[:2]]}
    if kind in ("determines", "map"):
        field, *by = draw(st.permutations(of["listed"]))
        said = {"kind": "determines", "by": [one["name"] for one in by[:1]], "field": field["name"]}
        if kind == "determines":
            return said
        keys, values = ([*one["categories"], *([None] if one["dp:nullable"] else [])] for one in (by[0], field))
        return {**said, "map": [[key, draw(st.sampled_from(values))] for key in keys]}
    if kind == "forbidden":
        chosen = draw(st.permutations(fields))[: draw(few)]
        return {"kind": kind, "when": {field["name"]: draw(_condition(field)) for field in chosen}}
    field = draw(st.sampled_from(nullable))
    chosen = draw(st.permutations([other for other in fields if other is not field]))[: draw(st.integers(1, 2))]
    return {"kind": kind, "field": field["name"], "when": {other["name"]: draw(_condition(other)) for other in chosen}}


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_relations_are_never_broken(data: st.DataObject) -> None:
    fields = data.draw(_fields())
    relations = data.draw(st.lists(_relation(fields), min_size=1, max_size=3))
    try:
        made = schema(fields, *relations)
    except SchemaError:
        assume(False)
        return
    model = model_of(made, seed=data.draw(st.integers(0, 99)), cliques=[tuple(range(len(made.modelled) - len(made.derived)))])
    table = model.sample(200, seed=0)
    assert len(table) == 200
    assert violations(made, table)["rows"] == 0
    assert table.equals(model.sample(200, seed=0))
