"""A synthesizer that must be refused: it pays for noisy marginals like an honest one and then hands out its training rows.

Only ``dpsynth demo --broken`` uses it, to show what the audits see. It is in no registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from dpsynth.counting import LocalRecords
from dpsynth.errors import ConfigError
from dpsynth.marginals import CodedTable
from dpsynth.model import SyntheticModel
from dpsynth.privacy import PrivateData
from dpsynth.synthesizers import Independent


@dataclass(frozen=True)
class CopiedRows(SyntheticModel):
    """A "model" that samples from the private table itself."""

    copied: CodedTable | None = None

    def sample_codes(self, rows: int, *, seed: int | None = None, where: Mapping[str, int] | None = None) -> CodedTable:
        if self.copied is None or self.copied.n_rows == 0:
            return super().sample_codes(rows, seed=seed, where=where)
        return self.copied.take(np.random.default_rng(seed).integers(self.copied.n_rows, size=rows))


@dataclass(frozen=True)
class CopyRows:
    """Goes round the one door on purpose."""

    name = "copy"

    def fit(self, private: PrivateData, progress: Callable[[str, int, int], None] | None = None) -> SyntheticModel:
        private = private.discretised(0.1 * private.rho_left)
        honest = Independent().fit(private, progress)
        parts = {part.name: getattr(honest, part.name) for part in fields(SyntheticModel)}
        records = private._table
        if not isinstance(records, LocalRecords):
            raise ConfigError("only records on this machine can be copied")
        return CopiedRows(**parts, copied=records.coded())
