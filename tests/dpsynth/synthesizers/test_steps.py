"""The steps the mechanisms share: one-ways, totals, merges, resolution, and the expected error of a table that will be measured."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dpsynth.marginals import Attribute, Domain, Measurement
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.synthesizers import Adaptive, Independent, choose
from dpsynth.synthesizers.adaptive import TOO_LITTLE
from dpsynth.synthesizers.expected_error import effective_cells, expected_l1
from dpsynth.synthesizers.levels import coarsen, resolution
from dpsynth.synthesizers.one_way import estimate_total, measure_one_ways, merge_rare, on_simplex, recode_one_way
from tests.dpsynth.synthesizers.hooks import Recording, exact_answers, table_of

BUDGET = PrivacyBudget(1.0, 1e-6)
DOMAIN = Domain.of({"a": 2, "b": 16, "c": 1})


def _private(rows: int = 40, unit: PrivacyUnit | None = None, hook: object = exact_answers) -> PrivateData:
    table = table_of(DOMAIN, [(i % 2, i % 16, 0) for i in range(rows)])
    return PrivateData.of_codes(table, BUDGET, unit=unit or PrivacyUnit("person", 1), hook=hook)  # type: ignore[arg-type]


# --- one-ways and totals --------------------------------------------------------------------------------------------------


def test_one_ways_cost_what_was_said_and_larger_columns_get_less_noise_each() -> None:
    private = _private()
    a, b, c = measure_one_ways(private, 0.01)
    assert private.rho_spent == pytest.approx(0.01, rel=1e-9)
    assert private.rho_spent <= 0.01
    # rho in proportion to (levels)^(2/3).
    assert (a.stddev / b.stddev) ** 2 == pytest.approx((16 / 2) ** (2 / 3))
    assert c.stddev > a.stddev


def test_the_split_of_the_budget_minimises_the_expected_error() -> None:
    """Sum of n sigma under sum 1/sigma^2 = const: no other split does better."""
    sizes = np.array([2.0, 16.0, 1.0])
    ours = sizes ** (2 / 3) / (sizes ** (2 / 3)).sum()

    def error(shares: npt.NDArray[np.float64]) -> float:
        return float((sizes / np.sqrt(shares)).sum())

    rng = np.random.default_rng(0)
    assert all(error(ours) <= error(rng.dirichlet(np.ones(3))) + 1e-9 for _ in range(200))


def test_the_total_is_the_precision_weighted_mean_of_the_sums() -> None:
    looks = [Measurement(("a",), np.array([60.0, 50.0]), 2.0), Measurement(("b",), np.full(16, 6.0), 1.0)]
    # Sums 110 with variance 8 and 96 with variance 16.
    assert estimate_total(_private(), looks) == pytest.approx((110 / 8 + 96 / 16) / (1 / 8 + 1 / 16))


def test_the_total_is_never_the_exact_number_of_rows_where_that_is_private() -> None:
    looks = [Measurement(("a",), np.array([60.0, 50.0]), 2.0)]
    assert estimate_total(_private(40), looks) == 110.0
    public = PrivacyUnit("person", 1, "replace_one")
    assert estimate_total(_private(40, public), looks) == 40.0
    assert estimate_total(_private(0, public), looks) == 1.0
    assert estimate_total(_private(), [Measurement(("a",), np.array([-60.0, -50.0]), 2.0)]) == 1.0


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e4, 1e4)), st.floats(0.5, 1e5))
def test_the_projection_onto_the_simplex_is_the_nearest_point_of_it(values: npt.NDArray[np.float64], total: float) -> None:
    nearest = on_simplex(values, total)
    assert nearest.min() >= 0.0
    assert nearest.sum() == pytest.approx(total, rel=1e-9, abs=1e-9)
    # Optimality (Karush-Kuhn-Tucker): positive cells moved by one and the same amount, the others by at most that.
    moved = values - nearest
    held = nearest > 0.0
    shift = moved[held].mean()
    np.testing.assert_allclose(moved[held], shift, atol=1e-6 * (1.0 + abs(shift)))
    assert np.all(moved[~held] <= shift + 1e-6 * (1.0 + abs(shift)))


# --- merges -----------------------------------------------------------------------------------------------------------------


def test_levels_under_three_sigma_are_merged_into_one() -> None:
    domain = Domain.of({"a": 5, "b": 3, "c": 2})
    looks = [
        Measurement(("a",), np.array([50.0, 2.0, 29.0, -4.0, 31.0]), 10.0),
        Measurement(("b",), np.array([50.0, 2.0, 50.0]), 10.0),  # one rare level alone gains nothing
        Measurement(("c",), np.array([0.0, 0.0]), 10.0),  # two levels stay two
    ]
    recoding = merge_rare(domain, looks)
    assert set(recoding.levels) == {"a"}
    assert recoding.levels["a"].tolist() == [0, 2, 2, 2, 1]


def test_all_levels_rare_become_one() -> None:
    recoding = merge_rare(Domain.of({"a": 4}), [Measurement(("a",), np.zeros(4), 10.0)])
    assert recoding.levels["a"].tolist() == [0, 0, 0, 0]


def test_a_merged_one_way_has_the_summed_counts_and_the_noise_of_sums() -> None:
    look = Measurement(("a",), np.array([50.0, 2.0, 29.0, -4.0, 31.0, 1.0]), 10.0)
    recoding = merge_rare(Domain.of({"a": 6}), [look])
    (merged,) = recode_one_way(look, recoding)
    assert merged.values.tolist() == [50.0, 31.0, 28.0]
    # The mean variance of the three cells: 100, 100 and 4 * 100.
    assert merged.stddev == pytest.approx(10.0 * math.sqrt(6 / 3))
    other = Measurement(("b",), np.zeros(2), 1.0)
    assert recode_one_way(other, recoding) == [other]


def _equal(attribute: Attribute, mass: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.int64] | None:
    look = Measurement((attribute.name,), mass, 1.0)
    return coarsen(Domain((attribute,)), [look], max(1.0, float(mass.sum())), bins).levels.get(attribute.name)


def test_ordered_columns_get_contiguous_bins_of_about_equal_mass() -> None:
    rng = np.random.default_rng(0)
    mass = rng.gamma(2.0, 100.0, size=200)
    codes = _equal(Attribute("a", 200, ordered=True), mass, 10)
    assert codes is not None
    assert np.all(np.diff(codes) >= 0)
    assert np.all(np.diff(codes) <= 1)
    assert (codes.min(), codes.max()) == (0, 9)
    shares = np.bincount(codes, weights=mass) / mass.sum()
    assert np.all(np.abs(shares - 0.1) < 0.05)


@pytest.mark.parametrize("mass", [np.zeros(50), np.full(50, -5.0), np.eye(50)[7] * 1e4, np.full(50, 1e-9)])
def test_bins_of_columns_without_or_with_all_mass_in_one_level_are_codes_without_gaps(
    mass: npt.NDArray[np.float64],
) -> None:
    codes = _equal(Attribute("a", 50, ordered=True), mass, 8)
    if codes is not None:
        assert sorted(set(codes.tolist())) == list(range(int(codes.max()) + 1))
        assert np.all(np.diff(codes) >= 0)
        assert len(codes) == 50


def test_the_level_for_missing_is_never_merged_with_a_value() -> None:
    mass = np.append(np.ones(49), 500.0)
    codes = _equal(Attribute("a", 50, ordered=True, nullable=True), mass, 5)
    assert codes is not None
    assert np.sum(codes == codes[-1]) == 1
    assert codes[-1] == codes.max()


@pytest.mark.parametrize("mass", [np.append(np.zeros(49), 500.0), np.full(50, -1.0)])
def test_a_nullable_column_without_values_is_binned_too(mass: npt.NDArray[np.float64]) -> None:
    codes = _equal(Attribute("a", 50, ordered=True, nullable=True), mass, 5)
    assert codes is not None
    assert sorted(set(codes.tolist())) == list(range(int(codes.max()) + 1))


@pytest.mark.parametrize("x", [0.001, 1.0, 1e3, 1e9])
def test_the_resolution_grows_with_the_signal_and_stops_at_the_limit(x: float) -> None:
    domain = Domain.of({f"x{i}": 100 for i in range(10)})
    bins = resolution(domain, x, 200_000)
    assert 4 <= bins <= 100_000
    assert bins == 4 or 10 * min(100, bins) ** 3 <= 200_000


# --- expected error ---------------------------------------------------------------------------------------------------------


def _monte_carlo(x: npt.NDArray[np.float64], sigma: float, draws: int = 2500) -> float:
    """E |(x + sigma Z - tau)_+ - x|_1 with the tau at which the mean sum is that of x."""
    noisy = x[None, :] + np.random.default_rng(0).normal(0.0, sigma, (draws, x.size))
    low, high = -10.0 * sigma, 10.0 * sigma + float(x.max())
    for _ in range(40):
        tau = (low + high) / 2.0
        if np.maximum(noisy - tau, 0.0).sum(axis=1).mean() > x.sum():
            low = tau
        else:
            high = tau
    return float(np.abs(np.maximum(noisy - high, 0.0) - x).sum(axis=1).mean())


@pytest.mark.parametrize("sigma", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("table", ["dense", "sparse", "one cell", "zeros and heavy", "large and sparse"])
def test_the_expected_error_is_that_of_a_simulation(table: str, sigma: float) -> None:
    rng = np.random.default_rng(1)
    x = {
        "dense": rng.gamma(3.0, 50.0, size=40),
        "sparse": np.where(rng.random(60) < 0.8, 0.0, rng.gamma(1.0, 200.0, size=60)),
        "one cell": np.array([500.0]),
        "zeros and heavy": np.append(np.zeros(99), 10_000.0),
        "large and sparse": np.where(rng.random(400) < 0.9, 0.0, rng.gamma(1.0, 200.0, size=400)),
    }[table]
    assert expected_l1(x, sigma) == pytest.approx(_monte_carlo(x, sigma), rel=0.02)


def test_effective_cells_lie_between_one_and_all() -> None:
    dense, sparse = np.full(100, 1e6), np.append(np.zeros(99), 1e6)
    assert effective_cells(dense, 1.0) == pytest.approx(100.0, rel=0.01)
    # Nearly all of the noise of an empty table goes with its negative half and the total.
    assert effective_cells(sparse, 1.0) < 20.0
    for x in (dense, sparse, np.zeros(1), np.zeros(500), np.array([0.0, 1e-300])):
        for sigma in (1e-6, 1.0, 1e9):
            assert 1.0 <= effective_cells(x, sigma) <= x.size


# --- auto -------------------------------------------------------------------------------------------------------------------


def test_auto_decides_by_public_numbers() -> None:
    budget = PrivacyBudget(1.0, 1e-6)
    assert isinstance(choose(None, 5, 1, budget), Adaptive)
    assert isinstance(choose(100_000, 5, 1, budget), Adaptive)
    assert isinstance(choose(100, 5, 1, budget), Independent)
    edge = 5 * TOO_LITTLE / math.sqrt(2.0 * budget.rho)
    assert isinstance(choose(math.floor(edge), 5, 1, budget), Independent)
    assert isinstance(choose(math.ceil(edge), 5, 1, budget), Adaptive)
    assert isinstance(choose(math.ceil(edge), 5, 2, budget), Independent)


def test_recipes_are_frozen_and_hold_no_data() -> None:
    chosen = Independent()
    with pytest.raises(AttributeError):
        chosen.name = "other"
    hook = Recording()
    chosen.fit(_private(hook=hook))
    assert chosen == Independent()
