"""The synthesizer of ``dpsynth demo --broken``: spends the budget for show, then hands out training rows.

It reaches round the kernel's one door, which is what a broken synthesizer does. It is in no registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from dpsynth.marginals import CodedTable
from dpsynth.model import SyntheticModel
from dpsynth.synthesizers import Mst

if TYPE_CHECKING:
    import pandas as pd

    from dpsynth.privacy import PrivateData


@dataclass(frozen=True)
class CopyingModel(SyntheticModel):
    """A fitted model that is asked for rows and gives those it was fitted on."""

    coded: CodedTable = field(kw_only=True)
    grid: CodedTable = field(kw_only=True)

    def sample_codes(self, rows: int, *, seed: int | None = None, where: Mapping[str, int] | None = None) -> CodedTable:
        """Training rows at the granularity of the model."""
        return self.coded.take(_picked(self.coded, rows, seed))

    def sample(
        self, rows: int | None = None, *, seed: int | None = None, where: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Training rows at full granularity."""
        assert self.encoder is not None
        taken = self.grid.take(_picked(self.grid, self.rows if rows is None else rows, seed))
        return self.encoder._table(taken.columns, None, typed=True)


@dataclass(frozen=True)
class Copying:
    """A recipe that looks like any other."""

    name: str = "copying"

    def fit(self, private: PrivateData, progress: Callable[[str, int, int], None] | None = None) -> CopyingModel:
        """Fit `Mst`, so that the transcript is in order, and keep the records."""
        model = Mst().fit(private, progress)
        known = {item.name: getattr(model, item.name) for item in fields(SyntheticModel)}
        coded = private._table
        return CopyingModel(**known, coded=coded, grid=private._audit.train if private._audit else coded)


def _picked(table: CodedTable, rows: int, seed: int | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    if not table.n_rows:
        return np.zeros(0, dtype=np.int64)
    return np.random.default_rng(seed).choice(table.n_rows, rows, replace=rows > table.n_rows)
