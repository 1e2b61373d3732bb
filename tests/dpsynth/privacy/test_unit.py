"""Contribution bounding, keyed coins and the sensitivities of one unit, against brute force over all small tables."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement, product

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.errors import ConfigError
from dpsynth.marginals import CodedTable, Domain, centred
from dpsynth.privacy import unit as unit_module
from dpsynth.privacy.unit import NEIGHBOURS, PrivacyUnit, bounded_rows, bounded_stream, keyed_uniform, row_digests

KEY = 0x1234_5678_9ABC_DEF0_0FED_CBA9_8765_4321


def _sets(cells: int, rows: int) -> list[npt.NDArray[np.int64]]:
    """Count vectors of every multiset of at most ``rows`` rows over ``cells`` cells."""
    found = []
    for n in range(rows + 1):
        for rows_of_unit in combinations_with_replacement(range(cells), n):
            found.append(np.bincount(np.array(rows_of_unit, dtype=np.int64), minlength=cells))
    return found


def _differences(shape: tuple[int, ...], unit: PrivacyUnit) -> list[npt.NDArray[np.float64]]:
    """What one unit can do to a table of counts: everything it may bring, or everything it may exchange."""
    brought = [counts.reshape(shape).astype(np.float64) for counts in _sets(math.prod(shape), unit.max_rows)]
    if unit.neighbours == "add_remove":
        return brought
    return [a - b for a, b in product(brought, brought)]


@pytest.mark.parametrize("neighbours", NEIGHBOURS)
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2,), (4,), (2, 3)])
def test_the_sensitivity_of_a_marginal_is_what_brute_force_finds(shape: tuple[int, ...], k: int, neighbours: str) -> None:
    unit = PrivacyUnit("person", k, neighbours)
    worst = max(float(np.linalg.norm(d)) for d in _differences(shape, unit))
    assert unit.vector_sensitivity() == pytest.approx(worst, rel=1e-12)


@pytest.mark.parametrize("neighbours", NEIGHBOURS)
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2,), (5,), (2, 2), (2, 3), (2, 2, 2)])
def test_the_sensitivity_of_a_residual_is_at_least_what_brute_force_finds(shape: tuple[int, ...], k: int, neighbours: str) -> None:
    if math.prod(shape) ** k > 300 and neighbours == "replace_one":
        k = 2  # The pairs of all multisets grow too fast; two rows already exchange everything.
    unit = PrivacyUnit("person", k, neighbours)
    norm = math.sqrt(math.prod(1.0 - 1.0 / n for n in shape))
    worst = max(float(np.linalg.norm(centred(d))) for d in _differences(shape, unit))
    declared = unit.vector_sensitivity(norm)
    assert worst <= declared * (1.0 + 1e-12)
    if neighbours == "add_remove":
        assert declared == pytest.approx(worst, rel=1e-12)
    # Under replace-one the bound is within the root of two of the truth, whatever the shape.
    assert declared <= math.sqrt(2.0) * worst * (1.0 + 1e-12)


@pytest.mark.parametrize("neighbours", NEIGHBOURS)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_sensitivity_of_a_score_is_what_brute_force_finds(k: int, neighbours: str) -> None:
    unit = PrivacyUnit("person", k, neighbours)
    model = np.array([0, 1, 3])
    others = [np.array(rest) for rest in product(range(4), repeat=3)]
    mine = _sets(3, k)
    scores = {(i, j): abs(o + m - model).sum() for i, o in enumerate(others) for j, m in enumerate(mine)}
    worst = 0
    for i in range(len(others)):
        values = [scores[i, j] for j in range(len(mine))]
        # Under add/remove the neighbour lacks the unit: its counts are those of the empty set, which comes first.
        spread = max(values) - min(values) if neighbours == "replace_one" else max(abs(v - values[0]) for v in values)
        worst = max(worst, spread)
    assert unit.score_sensitivity() == worst


@pytest.mark.parametrize("k", [1, 2, 5])
def test_no_unit_keeps_more_than_max_rows_and_small_units_keep_all(k: int) -> None:
    rng = np.random.default_rng(0)
    units = rng.integers(-5, 40, size=300)
    kept = bounded_rows(units, k, KEY)
    assert np.all(np.diff(kept) > 0)
    before, after = (dict(zip(*np.unique(u, return_counts=True), strict=True)) for u in (units, units[kept]))
    assert after == {unit: min(n, k) for unit, n in before.items()}


@pytest.mark.parametrize("units", [[], [7], [7, 7, 7], list(range(10)), [-1, 2**62, -1, -(2**63)]])
def test_bounding_copes_with_degenerate_unit_ids(units: list[int]) -> None:
    kept = bounded_rows(np.array(units, dtype=np.int64), 1, KEY)
    assert len(kept) == len(set(units))


def test_a_neighbour_that_leaves_changes_no_other_units_rows() -> None:
    rng = np.random.default_rng(1)
    units = rng.integers(0, 30, size=200)
    kept = bounded_rows(units, 2, KEY)
    for gone in range(5):
        stay = np.flatnonzero(units != gone)
        again = stay[bounded_rows(units[stay], 2, KEY)]
        np.testing.assert_array_equal(again, kept[units[kept] != gone])


def test_a_new_row_of_one_unit_changes_no_other_units_rows() -> None:
    units = np.array([1, 2, 2, 2, 3, 3])
    kept = bounded_rows(units, 2, KEY)
    longer = bounded_rows(np.array([1, 2, 2, 2, 3, 3, 2, 2]), 2, KEY)
    assert [i for i in kept if units[i] != 2] == [i for i in longer if i < 6 and units[i] != 2]


def test_another_key_keeps_other_rows() -> None:
    units = np.repeat(np.arange(50), 10)
    assert not np.array_equal(bounded_rows(units, 3, KEY), bounded_rows(units, 3, KEY + 1))
    assert not np.array_equal(bounded_rows(units, 3, KEY), bounded_rows(units, 3, KEY + (1 << 64)))


def _rows(n: int, levels: int) -> tuple[npt.NDArray[np.int64], CodedTable]:
    """Units with rows of which many are alike."""
    rng = np.random.default_rng(5)
    domain = Domain.of({"a": levels, "b": 2})
    return rng.integers(0, 20, n), CodedTable(domain, {a.name: rng.integers(0, a.size, n).astype(np.uint8) for a in domain})


@pytest.mark.parametrize("levels", [1, 3, 200])
def test_the_rows_kept_do_not_depend_on_the_order_of_the_table(levels: int) -> None:
    units, table = _rows(400, levels)

    def kept(order: npt.NDArray[np.int64]) -> list[tuple[int, ...]]:
        moved = table.take(order)
        rows = bounded_rows(units[order], 3, KEY, row_digests(moved, KEY))
        return sorted(zip(units[order][rows].tolist(), *(moved.columns[name][rows].tolist() for name in "ab"), strict=True))

    everyone = kept(np.arange(400))
    assert len(everyone) == 3 * len(set(units.tolist()))
    for seed in range(5):
        assert kept(np.random.default_rng(seed).permutation(400)) == everyone


@pytest.mark.parametrize("content", [False, True])
def test_units_sorted_in_shares_keep_the_same_rows(content: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    units, table = _rows(500, 3)
    units = units - 7
    digests = row_digests(table, KEY) if content else None
    whole = bounded_rows(units, 2, KEY, digests)
    monkeypatch.setattr(unit_module, "_SORTED_AT_ONCE", 60)
    monkeypatch.setattr(unit_module, "_AT_ONCE", 33)
    np.testing.assert_array_equal(bounded_rows(units, 2, KEY, digests), whole)
    np.testing.assert_array_equal(row_digests(table, KEY), row_digests(table, KEY))


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("levels", [1, 3, 200])
def test_a_sorted_stream_keeps_the_rows_that_a_table_keeps(levels: int, size: int) -> None:
    units, table = _rows(400, levels)
    units[:150] = 11  # One unit that goes on for many batches.
    digests = row_digests(table, KEY)
    cells = np.stack([units, *(table.columns[name] for name in "ab")], axis=1)
    order = np.lexsort((digests, units))
    cuts = range(0, 400, size)
    batches = [(units[part], digests[part], cells[part]) for part in (order[cut : cut + size] for cut in cuts)]
    parts = list(bounded_stream(iter(batches), 3, KEY))
    kept = cells[bounded_rows(units, 3, KEY, digests)]
    assert sorted(np.concatenate([rows for _, rows in parts]).tolist()) == sorted(kept.tolist())
    assert all(np.array_equal(owners, rows[:, 0]) for owners, rows in parts)
    # Nobody is in two parts: what is done to whole units can be done part by part.
    owners = [unit for owners, _ in parts for unit in set(owners.tolist())]
    assert len(owners) == len(set(owners))


def test_an_empty_stream_keeps_nothing() -> None:
    assert list(bounded_stream(iter([]), 2, KEY)) == []


def test_digests_tell_rows_apart_and_twins_alike() -> None:
    cells = np.array([[a, b] for a in range(200) for b in range(200)])
    domain = Domain.of({"a": 200, "b": 200})
    table = CodedTable(domain, {"a": cells[:, 0].astype(np.uint8), "b": cells[:, 1].astype(np.uint8)})
    assert len(np.unique(row_digests(table, KEY))) == len(cells)
    assert row_digests(table.take(np.array([7, 7])), KEY).tolist()[0] == row_digests(table, KEY)[7]


def test_no_two_coins_of_a_table_are_the_same_draw() -> None:
    """In a plain sum of unit and ordinal, unit u's coin 1 would be unit u+1's coin 0: whoever enters the cohort decides for another."""
    units = np.arange(20_000)
    draws = np.concatenate([keyed_uniform(units, ordinal, KEY) for ordinal in range(4)])
    assert len(np.unique(draws)) == len(draws)


@pytest.mark.parametrize("shift", [1, 2, 4, 1024])
def test_the_coins_of_neighbouring_units_are_independent(shift: int) -> None:
    n = 40_000
    units = np.arange(n + shift)
    coins = [(keyed_uniform(units, ordinal, KEY) >> np.uint64(63)).astype(np.float64) - 0.5 for ordinal in (0, 1)]
    # Six standard deviations: failure probability 2e-9 each.
    for a, b in product(coins, coins):
        assert abs(4.0 * np.mean(a[:n] * b[shift:])) < 6.0 / math.sqrt(n)
    assert abs(4.0 * np.mean(coins[0] * coins[1])) < 6.0 / math.sqrt(n)


@pytest.mark.parametrize("max_rows", [0, -1, 1.5, 2.5, math.nan, math.inf, "3", None])
def test_max_rows_must_be_a_whole_number(max_rows: object) -> None:
    """1.5 rows would keep two and count one and a half; NaN passes every comparison."""
    with pytest.raises(ConfigError, match="maxRows"):
        PrivacyUnit("person", max_rows)  # type: ignore[arg-type]


def test_unknown_neighbours_are_refused() -> None:
    with pytest.raises(ConfigError, match="neighbours"):
        PrivacyUnit("person", 1, "substitute")


@pytest.mark.parametrize(
    ("k", "neighbours", "public"),
    [(1, "replace_one", True), (2, "replace_one", False), (1, "add_remove", False), (3, "add_remove", False)],
)
def test_the_number_of_rows_is_public_only_under_replace_one_of_single_rows(k: int, neighbours: str, public: bool) -> None:
    assert PrivacyUnit("person", k, neighbours).total_is_public is public
