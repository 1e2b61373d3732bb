"""Where rows weigh one per person: no person moves an answer by more than one person's worth, whatever and however much they bring."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.counting import LocalRecords
from dpsynth.errors import ConfigError
from dpsynth.marginals import COUNT, UNIT, Attribute, CodedTable, Domain, count
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.unit import GRAIN, row_order, row_weights, rows_per_unit, settled
from tests.dpsynth.privacy.test_private_data import TEN
from tests.dpsynth.synthesizers.hooks import Look, Recording, exact_answers, table_of

# A static column and one that varies; together with the number of rows three columns are modelled.
DOMAIN = Domain((Attribute("s", 2, scope=UNIT), Attribute("v", 3)))
CLIQUES = [("s",), ("v",), ("s", "v"), ("s", "rows per person"), ("v", "rows per person")]
REST = [(0, 0), (0, 1), (1, 2), (1, 2), (0, 2)]
OWNERS = [0, 0, 1, 1, 2]


def _private(rows: list[tuple[int, int]], owners: list[int], unit: PrivacyUnit, hook: Any, budget: PrivacyBudget = TEN) -> PrivateData:
    return PrivateData.of_codes(table_of(DOMAIN, rows), budget, unit=unit, unit_ids=np.array(owners, dtype=np.int64), hook=hook)


def _ask(private: PrivateData) -> None:
    """One question of every kind."""
    rng = np.random.default_rng(0)
    models = [rng.integers(0, 4, size=private.domain.shape(clique)) for clique in CLIQUES]
    private.total(0.01)
    for clique in CLIQUES:
        private.measure(clique, 0.01, "marginal")
    private.measure_residual(("s", "v"), 0.01, "residual")
    private.measure_residual(("v", "rows per person"), 0.01, "residual")
    private.scores(CLIQUES, models, 0.01, "scores")
    private.select(CLIQUES, models, 0.01, "select", penalties=np.array([0.3, 2.0, -1.25, 0, 0]), weights=np.array([1, 5, 3, 1, 1]))


def _brought(k: int) -> Iterator[list[tuple[int, int]]]:
    """Everything a person may bring: every multiset of up to one row more than are kept, nothing first."""
    for n in range(k + 2):
        yield from (list(rows) for rows in combinations_with_replacement(list(product(range(2), range(3))), n))


@cache
def _looks(k: int, neighbours: str) -> list[list[Look]]:
    runs = []
    for mine in _brought(k):
        hook = Recording()
        _ask(_private([*REST, *mine], [*OWNERS, *([99] * len(mine))], PrivacyUnit("person", k, neighbours, "person"), hook))
        runs.append(hook.releases)
    return runs


@pytest.mark.parametrize("neighbours", ["add_remove", "replace_one"])
@pytest.mark.parametrize("k", [2, 3])
def test_no_person_moves_an_answer_by_more_than_was_declared(k: int, neighbours: str) -> None:
    for looks in zip(*_looks(k, neighbours), strict=True):
        event = looks[0].event
        assert all(look.event == event for look in looks), "what is written down depends on the records"
        answers = np.array([look.exact.ravel().astype(np.float64) for look in looks])
        gaps = answers[None, 0] - answers if neighbours == "add_remove" else answers[:, None] - answers[None, :]
        if event["kind"] == "gaussian":
            worst, declared = float(np.linalg.norm(gaps, axis=-1).max()), event["l2_sensitivity"]
        else:
            worst, declared = float(np.abs(gaps).max()), event["score_sensitivity"]
        assert worst <= declared * (1.0 + 1e-12), event
        # One person's worth, whatever k is; and not a part more noise than that needs. Nobody can be removed under replace-one.
        if event.get("forms") == ["marginal"]:
            assert declared == pytest.approx(event["scale"] * (1.0 if neighbours == "add_remove" else 2**0.5))
            assert worst == pytest.approx(declared, rel=1e-9)
        if event.get("forms") == ["total"]:
            assert worst == declared == GRAIN


def test_weights_of_rows_would_break_the_declared_sensitivity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side: were every row a whole person, the exhaustive search would see it."""
    monkeypatch.setattr("dpsynth.privacy.unit.row_weights", lambda units, order: np.full(len(units), GRAIN, dtype=np.int64))
    unit = PrivacyUnit("person", 3, "add_remove", "person")
    answers = []
    for mine in ([], [(0, 0)] * 3):
        hook = Recording()
        _private([*REST, *mine], [*OWNERS, *([99] * len(mine))], unit, hook).measure(("s",), 0.01, "marginal")
        answers.append(hook.releases[0])
    moved = np.linalg.norm(answers[1].exact - answers[0].exact)
    assert moved == pytest.approx(3.0 * answers[0].event["l2_sensitivity"])


def test_a_count_of_persons_is_the_sum_of_their_shares() -> None:
    rows, owners = [(0, 0), (0, 1), (1, 2), (1, 0), (1, 2), (0, 1)], [7, 7, 8, 8, 8, 9]
    private = _private(rows, owners, PrivacyUnit("person", 3, weights="person"), exact_answers)
    np.testing.assert_allclose(private.measure(("v",), 0.01, "x").values, [1 / 2 + 1 / 3, 1 / 2 + 1, 2 / 3], atol=1e-3)
    np.testing.assert_array_equal(private.measure(("rows per person",), 0.01, "x").values, [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(private.measure(("s",), 0.01, "x").values, [2.0, 1.0])
    assert float(private.total(0.01).values) == 3.0
    table = private.measure(("s", "v"), 0.01, "x").values
    np.testing.assert_allclose(
        private.measure_residual(("s", "v"), 0.01, "x").values,
        table - table.mean(0, keepdims=True) - table.mean(1, keepdims=True) + table.mean(),
        atol=1e-12,
    )


def test_an_error_of_persons_is_counted_in_whole_persons() -> None:
    hook = Recording()
    private = _private([(0, 0), (0, 1), (1, 2)], [7, 7, 8], PrivacyUnit("person", 3, weights="person"), hook)
    private.scores([("v",), ("s",)], [np.array([4, 0, 0]), np.array([0, 0])], 0.01, "scores")
    # |1/2 - 4| + 1/2 + 1 = 5 and 1 + 1 = 2.
    assert hook.releases[0].exact.tolist() == [5, 2]
    assert hook.releases[0].event["scale"] == 1


@pytest.mark.parametrize("kind", [np.int32, np.uint64])
def test_an_error_does_not_depend_on_the_type_of_the_models_numbers(kind: type) -> None:
    """A cell of 100,000 persons is 2.8e9 parts, beyond 32 bits."""
    hook = Recording()
    private = _private([(0, 0), (0, 1), (1, 2)], [7, 7, 8], PrivacyUnit("person", 3, weights="person"), hook)
    models = [np.array([100_000, 0, 0]), np.array([200_000, 1])]
    private.scores([("v",), ("s",)], [model.astype(kind) for model in models], 0.01, "scores")
    private.select([("v",), ("s",)], [model.astype(kind) for model in models], 0.01, "select")
    # |1/2 - 100,000| + 1/2 + 1 = 100,001 and 199,999.
    assert [look.exact.tolist() for look in hook.releases] == [[100_001, 199_999]] * 2


def test_one_row_a_person_is_the_plain_count() -> None:
    unit = PrivacyUnit("person", 1, weights="person")
    private = _private(REST, list(range(5)), unit, exact_answers)
    assert (unit.mass, unit.grain, unit.by_person) == (1, 1, False)
    assert private.domain == DOMAIN
    np.testing.assert_array_equal(private.measure(("v",), 0.01, "x").values, [1.0, 1.0, 3.0])


def test_the_mass_of_a_person_does_not_grow_with_the_cap() -> None:
    assert [PrivacyUnit("p", k, weights="person").mass for k in (2, 40, GRAIN)] == [1, 1, 1]
    assert PrivacyUnit("p", 40).mass == 40
    with pytest.raises(ConfigError, match="maxRows=27721"):
        PrivacyUnit("p", GRAIN + 1, weights="person")
    with pytest.raises(ConfigError, match="weights='half'"):
        PrivacyUnit("p", 2, weights="half")


@pytest.mark.parametrize("seed", range(5))
def test_weights_add_up_to_one_person_and_are_nearly_equal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    units = rng.integers(-5, 40, 500) * 10**15
    order = row_order(units, seed)
    weights, sizes = row_weights(units, order), rows_per_unit(units)
    for unit in np.unique(units):
        mine = weights[units == unit]
        assert mine.sum() == GRAIN
        assert mine.max() - mine.min() <= 1
        assert np.all(sizes[units == unit] == len(mine))
    # A neighbour without some unit leaves the others as they were.
    rest = units != units[0]
    np.testing.assert_array_equal(row_weights(units[rest], row_order(units[rest], seed)), weights[rest])
    nobody = np.zeros(0, dtype=np.int64)
    assert row_weights(nobody, row_order(nobody, 1)).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_a_static_column_gets_one_of_the_persons_own_values_and_missing_only_if_all_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    units, codes = rng.integers(0, 60, 200), rng.integers(0, 4, 200).astype(np.uint8)
    made = settled(codes, units, row_order(units, seed), missing=3)
    for unit in np.unique(units):
        mine, own = made[units == unit], codes[units == unit]
        assert len(set(mine.tolist())) == 1
        assert mine[0] in own
        assert (mine[0] == 3) == bool(np.all(own == 3))
    rest = units != units[0]
    np.testing.assert_array_equal(settled(codes[rest], units[rest], row_order(units[rest], seed), missing=3), made[rest])
    assert settled(codes[:0], units[:0], row_order(units[:0], seed)).tolist() == []


def test_weights_and_static_values_do_not_depend_on_the_order_of_the_table() -> None:
    rng = np.random.default_rng(1)
    units, codes = rng.integers(0, 30, 300), rng.integers(0, 9, 300)
    shuffled = rng.permutation(300)
    content = codes.astype(np.uint64)
    order = row_order(units, 5, content)
    other = row_order(units[shuffled], 5, content[shuffled])
    np.testing.assert_array_equal(settled(codes[shuffled], units[shuffled], other), settled(codes, units, order)[shuffled])
    pairs = [
        sorted(zip(u, c, row_weights(u, o), strict=True)) for u, c, o in ((units, codes, order), (units[shuffled], codes[shuffled], other))
    ]
    assert pairs[0] == pairs[1]


def test_which_value_a_static_column_keeps_is_drawn_evenly() -> None:
    units = np.repeat(np.arange(20_000), 2)
    made = settled(np.tile([0, 1], 20_000), units, row_order(units, 99))[::2]
    # Binomial(20,000, 1/2): 5.5 standard deviations, chance 4e-8; the key is fixed.
    assert abs(made.mean() - 0.5) < 5.5 * 0.5 / 20_000**0.5


def test_the_kept_rows_are_counted_not_those_brought() -> None:
    unit = PrivacyUnit("person", 2, weights="person")
    private = _private([(0, 0)] * 5 + [(1, 1)], [1] * 5 + [2], unit, exact_answers)
    np.testing.assert_array_equal(private.measure(("rows per person",), 0.01, "x").values, [1.0, 1.0])
    np.testing.assert_array_equal(private.measure(("v",), 0.01, "x").values, [1.0, 1.0, 0.0])
    assert private.domain["rows per person"].scope == COUNT
    assert private.transcript()["unit"]["weights"] == "person"


def test_weights_follow_their_rows() -> None:
    table = CodedTable(Domain.of({"a": 2}), {"a": np.array([0, 1, 1], dtype=np.uint8)}, np.array([5, 2, 1]))
    assert count(table, ("a",)).tolist() == [5, 3]
    assert int(count(table, ())) == 8
    assert count(table.take(np.array([2, 0])), ("a",)).tolist() == [5, 1]
    assert [c.tolist() for c in LocalRecords.of(table).counts([("a",), ()])] == [[5, 3], 8]


def test_rows_without_a_key_are_one_person_together() -> None:
    hooks = []
    for n in (0, 1, 2, 50):
        hook = Recording()
        owners: npt.NDArray[np.int64] = np.array([*OWNERS, *([0] * 0), *([-7] * n)])
        _private([*REST, *([(1, 1)] * n)], owners.tolist(), PrivacyUnit("person", 3, weights="person"), hook).total(0.01)
        hooks.append(int(hook.releases[0].exact[0]))
    assert hooks == [3 * GRAIN, 4 * GRAIN, 4 * GRAIN, 4 * GRAIN]
