"""Missing cells are a level of their column, so pairs of columns carry which cells are missing together."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.schema import Field, Schema, Unit
from dpsynth.synthesizers import SYNTHESIZERS
from tests.dpsynth.synthesizers.hooks import recipe

ROWS = 8000
COLUMNS = 8


def _table() -> pd.DataFrame:
    """43 % missing, in blocks: a questionnaire half of the people skipped, a test that only some wards order, a pair never both there."""
    rng = np.random.default_rng(4)
    skipped, ward = rng.random(ROWS) < 0.5, rng.integers(0, 3, ROWS)
    cells = rng.normal(50.0, 10.0, (ROWS, COLUMNS))
    missing = np.zeros((ROWS, COLUMNS), dtype=bool)
    missing[:, 0:3] = skipped[:, None] ^ (rng.random((ROWS, 3)) < 0.03)
    missing[:, 3] = ward != 0
    missing[:, 4] = rng.random(ROWS) < 0.2
    missing[:, 5] = ~missing[:, 4]
    missing[:, 6] = rng.random(ROWS) < 0.3
    cells[missing] = np.nan
    table = pd.DataFrame(cells, columns=[f"c{i}" for i in range(COLUMNS)])
    return table.assign(ward=np.array(["a", "b", "c"])[ward])


def _schema() -> Schema:
    numbers = tuple(Field(f"c{i}", "number", ordered=True, minimum=0, maximum=100, bins=20, nullable=True) for i in range(COLUMNS))
    return Schema("d", "p", Unit("row"), (*numbers, Field("ward", "string", categories=("a", "b", "c"))))


@pytest.mark.parametrize("name", sorted(SYNTHESIZERS))
def test_what_is_missing_together_stays_missing_together(name: str) -> None:
    real = _table()
    assert 0.40 < real.drop(columns="ward").isna().to_numpy().mean() < 0.46
    made = recipe(name).fit(PrivateData.read(real, _schema(), PrivacyBudget(10.0, 1e-6))).sample(ROWS, seed=1)
    np.testing.assert_allclose(made.isna().mean(), real.isna().mean(), atol=0.02)
    gaps = [
        abs((made[a].isna() & made[b].isna()).mean() - (real[a].isna() & real[b].isna()).mean()) for a, b in combinations(real.columns, 2)
    ]
    by_ward = abs(made[made["ward"] == "a"]["c3"].isna().mean() - real[real["ward"] == "a"]["c3"].isna().mean())
    if name == "independent":
        # The other side: without pairs, the pattern is lost, and this test would see it.
        assert max(gaps) > 0.15 and by_ward > 0.4
    else:
        assert max(gaps) < 0.04 and by_ward < 0.05
