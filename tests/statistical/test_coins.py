"""Who is kept and who is left out: uniform, fair, and independent of everything but the key.

Bounds are set for a failure probability of at most 1e-9 a test; all keys but the last one are fixed.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.marginals import Domain
from dpsynth.privacy import Cohort, PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.unit import bounded_rows, keyed_uniform
from tests.dpsynth.synthesizers.hooks import real_noise, table_of

pytestmark = pytest.mark.statistical

UNITS = 30_000
FAILURE = 1e-9
KEY = 0xFEED_FACE_CAFE_BEEF_0123_4567_89AB_CDEF


def _upper(freedom: int) -> float:
    from scipy.stats import chi2

    return float(chi2.isf(FAILURE, freedom))


def _statistic(seen: npt.NDArray[np.int64]) -> float:
    """Pearson's, against equal shares."""
    expected = seen.sum() / len(seen)
    return float(((seen - expected) ** 2).sum() / expected)


@pytest.mark.parametrize("ids", ["consecutive", "hashed"])
def test_every_subset_of_a_units_rows_is_equally_likely_to_be_kept(ids: str) -> None:
    numbers = np.arange(UNITS) if ids == "consecutive" else np.random.default_rng(0).integers(-(2**63), 2**63, UNITS)
    kept = bounded_rows(np.repeat(numbers, 5), 2, KEY)
    pairs = (kept % 5).reshape(UNITS, 2)
    places = {pair: i for i, pair in enumerate(combinations(range(5), 2))}
    seen = np.bincount([places[a, b] for a, b in pairs.tolist()], minlength=10)
    assert _statistic(seen) < _upper(9)
    # The first rows of everybody, or a choice weighted by place, would not pass.
    assert _statistic(np.bincount([0] * UNITS, minlength=10)) > _upper(9)


def test_every_subset_is_equally_likely_when_some_rows_are_alike() -> None:
    """Rows 0 and 1 are twins, and so are 3 and 4: of each unit two rows of five stay, so each kind of pair has a known share."""
    content = np.tile(np.array([9, 9, 5, 77, 77], dtype=np.uint64), UNITS)
    kept = bounded_rows(np.repeat(np.arange(UNITS), 5), 2, KEY, content)
    pairs = (kept % 5).reshape(UNITS, 2)
    places = {pair: i for i, pair in enumerate(combinations(range(5), 2))}
    assert _statistic(np.bincount([places[a, b] for a, b in pairs.tolist()], minlength=10)) < _upper(9)


@pytest.mark.parametrize("ordinal", [0, 1])
def test_draws_are_uniform_in_their_high_and_low_bits(ordinal: int) -> None:
    draws = keyed_uniform(np.arange(UNITS), ordinal, KEY)
    for shift in (0, 8, 31, 48, 56):
        seen = np.bincount(((draws >> np.uint64(shift)) & np.uint64(255)).astype(np.int64), minlength=256)
        assert _statistic(seen) < _upper(255)


def test_the_two_coins_of_a_unit_and_those_of_its_neighbours_are_jointly_uniform() -> None:
    """Coins that share bits between units once let each member of the cohort decide for the next unit that it is not left out."""
    coins = [(keyed_uniform(np.arange(UNITS + 1), ordinal, KEY) >> np.uint64(61)).astype(np.int64) for ordinal in (0, 1)]
    own, other, following = coins[0][:-1], coins[1][:-1], coins[1][1:]
    for one, two in ((own, other), (own, following), (coins[0][1:], other)):
        assert _statistic(np.bincount(one * 8 + two, minlength=64)) < _upper(63)


def test_half_of_the_cohort_is_left_out_whoever_their_neighbours_are() -> None:
    n, share = 20_000, 0.2
    table = table_of(Domain.of({"a": 2}), [(i % 2,) for i in range(n)])
    private = PrivateData.of_codes(table, PrivacyBudget(1.0, 1e-6), unit=PrivacyUnit("person", 1), cohort=Cohort(share), hook=real_noise)
    read = private.read_for_audit()
    out, stayed = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    out[read.control_units] = True
    stayed[read.members] = True
    cohort = out | stayed
    assert abs(int(cohort.sum()) - n * share) < 6.2 * math.sqrt(n * share * (1.0 - share))
    assert abs(int(out.sum()) - int(stayed.sum())) < 6.2 * math.sqrt(float(cohort.sum()))
    # Units whose neighbour by number (xor 1, xor 2, +1) is in the cohort are left out as often as any others.
    places = np.arange(n)
    for partner in (places ^ 1, places ^ 2, (places + 1) % n, (places - 1) % n):
        chosen = cohort & cohort[np.minimum(partner, n - 1)]
        left = int(out[chosen].sum())
        assert abs(left - chosen.sum() / 2.0) < 6.2 * math.sqrt(float(chosen.sum()) / 4.0)
