"""What a plan says of noise is what the mechanism then does: compared with transcripts of fits."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest

from dpsynth.marginals import CodedTable, Domain
from dpsynth.planning.spending import Spending, spending
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.noise import SeededNoise
from dpsynth.synthesizers import SYNTHESIZERS

ROWS = 4000
JOINT = {"a": 3, "b": 4, "c": 2, "d": 5}
WIDE = {f"c{place:02d}": (40, 3, 12, 25, 2, 60, 7, 30)[place % 8] for place in range(12)}
SINGLE = {"a": 7}
UNITS = (PrivacyUnit("person", 1), PrivacyUnit("person", 1, "replace_one"), PrivacyUnit("person", 3))


def _table(sizes: dict[str, int]) -> CodedTable:
    """Columns that follow a hidden class, so that there are pairs worth measuring."""
    rng = np.random.default_rng(0)
    hidden = rng.integers(4, size=ROWS)
    columns = {
        name: ((hidden * size // 4 + rng.integers(max(1, size // 3), size=ROWS)) % size).astype(np.uint8) for name, size in sizes.items()
    }
    return CodedTable(Domain.of(sizes), columns)


def _both(name: str, sizes: dict[str, int], unit: PrivacyUnit, epsilon: float = 1.0) -> tuple[Spending, list[dict[str, Any]]]:
    table, budget = _table(sizes), PrivacyBudget(epsilon, 1e-6)
    units = np.arange(ROWS, dtype=np.int64) // unit.max_rows if unit.max_rows > 1 else None
    private = PrivateData.of_codes(table, budget, unit=unit, unit_ids=units, hook=SeededNoise(3))
    model = SYNTHESIZERS[name]().fit(private)
    events = [e for e in model.transcript["events"] if e["kind"] == "gaussian" and e["forms"][0] in ("marginal", "residual")]
    return spending(SYNTHESIZERS[name](), table.domain, 0, unit, budget.rho, ROWS), events


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: f"{unit.neighbours}-{unit.max_rows}")
@pytest.mark.parametrize("sizes", [SINGLE, JOINT, WIDE], ids=["single", "joint", "wide"])
@pytest.mark.parametrize("name", SYNTHESIZERS)
def test_the_noise_of_each_column_is_as_planned(name: str, sizes: dict[str, int], unit: PrivacyUnit) -> None:
    if name == "aim" and sizes is WIDE:
        pytest.skip("minutes; the smaller tables go through the same lines")
    planned, events = _both(name, sizes, unit)
    measured: dict[str, float] = {}
    for event in events:
        if len(event["cliques"][0]) == 1:
            measured.setdefault(event["cliques"][0][0], event["stddev"])

    # adaptive takes the number of rows from a noisy count: its share moves with the logarithm of that.
    assert planned.one_way == pytest.approx(measured, rel=0.02 if name == "adaptive" and sizes is WIDE else 1e-6)


EXACT = [("mst", JOINT), ("mst", WIDE), ("adaptive", JOINT)]


@pytest.mark.parametrize(("name", "sizes"), EXACT, ids=["mst-4", "mst-12", "adaptive-joint"])
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: f"{unit.neighbours}-{unit.max_rows}")
def test_the_noise_of_a_pair_is_as_planned(name: str, sizes: dict[str, int], unit: PrivacyUnit) -> None:
    planned, events = _both(name, sizes, unit)
    pairs = [event for event in events if len(event["cliques"][0]) == 2]

    assert pairs and planned.pairs
    for event in pairs:
        assert event["stddev"] / event["scale"] == pytest.approx(planned.pairs.stddev(unit, tuple(event["shapes"][0])), rel=1e-6)


@pytest.mark.parametrize("epsilon", [0.5, 3.0])
def test_the_noise_of_a_typical_pair_of_adaptive_is_planned_within_a_factor_of_two(epsilon: float) -> None:
    planned, events = _both("adaptive", WIDE, UNITS[0], epsilon)
    spent = statistics.median(event["rho"] for event in events if len(event["cliques"][0]) == 2)

    # Noise goes with the root of rho.
    assert planned.pairs
    assert 0.5 < (spent / planned.pairs.rho) ** 0.5 < 2.0


def test_bins_that_are_still_to_be_found_cost_a_tenth() -> None:
    domain = Domain.of(JOINT)
    with_bins = spending(SYNTHESIZERS["independent"](), domain, 2, UNITS[0], 0.1, ROWS)
    without = spending(SYNTHESIZERS["independent"](), domain, 0, UNITS[0], 0.1, ROWS)

    assert with_bins.bins_rho == pytest.approx(0.01)
    assert with_bins.one_way["a"] == pytest.approx(without.one_way["a"] / 0.9**0.5)
