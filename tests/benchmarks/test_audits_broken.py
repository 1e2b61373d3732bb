"""Releases that are broken on purpose are broken in the way they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import audits_broken
from benchmarks.audits_attacks import silent
from benchmarks.audits_broken import releases
from tests.chance import kernel_noise


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits_broken, "ROWS", 200)
    monkeypatch.setattr(audits_broken, "SYNTHETIC", 400)
    monkeypatch.setattr(audits_broken, "COLUMNS", 4)


def shared(release: str) -> float:
    """How many synthetic rows are rows of train."""
    with kernel_noise(0):
        data = dict(releases())[release](1.0, 0)
    assert data.train is not None
    known = set(data.train.itertuples(index=False, name=None))
    rows = pd.DataFrame(data.synthetic).itertuples(index=False, name=None)
    return sum(row in known for row in rows) / len(data.synthetic)


def test_as_many_rows_are_copied_as_the_name_says() -> None:
    assert shared("training rows alone") == 1.0
    assert 0.1 <= shared("`mst`, a tenth of its rows from training") < 0.15
    assert shared("`independent`") < 0.02


def test_what_is_switched_off_is_the_noise() -> None:
    def drawn() -> None:
        raise AssertionError("noise was drawn")

    exact = np.array([3, 9, 4])

    assert silent({"kind": "gaussian"}, exact, drawn).tolist() == [3, 9, 4]
    assert silent({"kind": "exponential"}, exact, drawn) == 1
