"""Expected errors against errors that were measured; half or double the noise would be noticed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpsynth.marginals import CodedTable, Domain, count
from dpsynth.planning.accuracy import Error, one_way_errors, pair_errors, table_error
from dpsynth.planning.spending import spending
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.noise import SeededNoise
from dpsynth.synthesizers import SYNTHESIZERS
from dpsynth.synthesizers.one_way import on_simplex

UNIT = PrivacyUnit("person", 1)
FITS = {"independent": 60, "mst": 15}


def _even(sizes: tuple[int, ...]) -> CodedTable:
    """Every combination of values equally often."""
    grids = np.meshgrid(*(np.arange(size) for size in sizes), indexing="ij")
    names = [f"c{place}" for place in range(len(sizes))]
    columns = {name: np.repeat(grid.ravel(), 4).astype(np.uint8) for name, grid in zip(names, grids, strict=True)}
    return CodedTable(Domain.of(dict(zip(names, sizes, strict=True))), columns)


def _skewed(size: int, rows: int) -> CodedTable:
    counts = rows / np.arange(1.0, size + 1.0)
    counts = np.rint(counts * rows / counts.sum()).astype(int)
    return CodedTable(Domain.of({"c0": size}), {"c0": np.repeat(np.arange(size), counts).astype(np.uint16)})


def _measured(table: CodedTable, name: str, epsilon: float, order: int) -> float:
    """Mean share of misplaced records over the measured marginals of one order, over many fits."""
    errors = []
    for seed in range(FITS[name]):
        private = PrivateData.of_codes(table, PrivacyBudget(epsilon, 1e-6), unit=UNIT, hook=SeededNoise(seed))
        for m in SYNTHESIZERS[name]().fit(private).measurements:
            if len(m.clique) == order and m.form == "marginal":
                truth = count(table, m.clique)
                errors.append(float(np.abs(on_simplex(m.values, table.n_rows) - truth).sum()) / (2.0 * table.n_rows))
    return float(np.mean(errors))


@pytest.mark.parametrize(("sizes", "epsilon"), [((8, 12, 10), 0.3), ((8, 12, 10), 0.03), ((60,), 0.1)])
def test_one_ways_of_an_even_table_err_as_expected(sizes: tuple[int, ...], epsilon: float) -> None:
    table = _even(sizes)
    spent = spending(SYNTHESIZERS["independent"](), table.domain, 0, UNIT, PrivacyBudget(epsilon, 1e-6).rho, table.n_rows)
    expected = Error.mean(list(one_way_errors(table.domain, spent, table.n_rows).values())).even

    assert _measured(table, "independent", epsilon, 1) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_one_ways_of_a_skewed_table_err_as_expected(epsilon: float) -> None:
    table = _skewed(300, 20_000)
    spent = spending(SYNTHESIZERS["independent"](), table.domain, 0, UNIT, PrivacyBudget(epsilon, 1e-6).rho, table.n_rows)
    expected = one_way_errors(table.domain, spent, table.n_rows)["c0"].skewed

    assert _measured(table, "independent", epsilon, 1) == pytest.approx(expected, rel=0.05)


def test_pairs_of_an_even_table_err_as_expected() -> None:
    table = _even((6, 6, 6, 6))
    spent = spending(SYNTHESIZERS["mst"](), table.domain, 0, UNIT, PrivacyBudget(0.5, 1e-6).rho, table.n_rows)
    assert spent.pairs
    expected = Error.mean(list(pair_errors(table.domain, spent.pairs, UNIT, table.n_rows).values())).even

    assert _measured(table, "mst", 0.5, 2) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_the_comparison_would_notice_other_noise(wrong: float) -> None:
    table = _even((8, 12, 10))
    spent = spending(SYNTHESIZERS["independent"](), table.domain, 0, UNIT, PrivacyBudget(0.3, 1e-6).rho * wrong**2, table.n_rows)
    expected = Error.mean(list(one_way_errors(table.domain, spent, table.n_rows).values())).even

    assert _measured(table, "independent", 0.3, 1) != pytest.approx(expected, rel=0.3)


def test_a_well_filled_table_errs_by_the_mean_absolute_noise() -> None:
    # 20 cells of 500 records, noise 3: nothing is clipped. Bringing the sum back takes one of 20 degrees of freedom.
    expected = 20 * 3.0 * math.sqrt(2.0 / math.pi) / (2.0 * 10_000)

    assert table_error(20, 3.0, 10_000).even == pytest.approx(expected, rel=0.03)


def test_more_noise_and_more_cells_are_never_better_and_no_error_passes_one() -> None:
    noises = [table_error(50, stddev, 1000).even for stddev in (0.1, 1.0, 10.0, 1e3, 1e6)]
    cells = [table_error(n, 5.0, 1000).even for n in (1, 2, 10, 100, 10_000, 10_000_000)]

    assert noises == sorted(noises) and noises[-1] <= 1.0
    assert cells == sorted(cells) and cells[0] == 0.0 and cells[-1] <= 1.0
