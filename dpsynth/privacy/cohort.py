"""Who is left out of training, and which real rows an audit sees. Keyed coins decide, unit by unit, so every engine decides alike.

Nothing computed from the records decides: neighbours' training tables still differ by one unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpsynth.code_store import taken
from dpsynth.errors import ConfigError
from dpsynth.marginals import CodedTable
from dpsynth.privacy.unit import keyed_uniform

AUDITED_ROWS = 1 << 20
"""Training rows of units outside the cohort that an audit is given: enough for a population, little enough for memory."""
BUCKETS = 1 << 20
_AT_ONCE = 1 << 20

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cohort:
    """Who may be left out of training to serve as control: each unit enters with public probability ``share``, then a fair coin decides.

    An audit is given all rows of the cohort, and of the other units a random sample of at most ``audited_rows`` rows (None: all).
    """

    share: float
    audited_rows: int | None = AUDITED_ROWS

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ConfigError(f"cohort share={self.share!r} must be >= 0 and <= 1")
        if self.audited_rows is not None and self.audited_rows < 1:
            raise ConfigError(f"audited_rows={self.audited_rows!r} must be >= 1, or None for all rows")

    @classmethod
    def nobody(cls) -> Cohort:
        """For an audit whose control is brought along: every unit trains, and whether one of them is in the control is asked of all."""
        return cls(0.0, None)


@dataclass(frozen=True)
class AuditTables:
    """Real records for the internal audit: not differentially private, never to be published. Codes are on the schema's public grid.

    ``train`` holds all rows of ``members`` and all or some of the other training rows; ``trained`` is how many rows were trained on.
    """

    train: CodedTable
    train_units: Ints
    control: CodedTable
    control_units: Ints
    members: Ints
    trained: int


def sides(units: Ints, share: float, key: int) -> tuple[Mask, Mask]:
    """For each row whether its unit is a member of the cohort that trains, and whether it is left out."""
    member, out = np.zeros(len(units), dtype=bool), np.zeros(len(units), dtype=bool)
    for start in range(0, len(units), _AT_ONCE):
        part = units[start : start + _AT_ONCE]
        inside = (keyed_uniform(part, 0, key) >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share
        fair = (keyed_uniform(part, 1, key) >> np.uint64(63)).astype(bool)
        member[start : start + _AT_ONCE], out[start : start + _AT_ONCE] = inside & ~fair, inside & fair
    return member, out


def buckets(units: Ints, key: int) -> Ints:
    """For each row a draw below `BUCKETS` that its unit has for itself, independent of its coins."""
    drawn = np.empty(len(units), dtype=np.int64)
    for start in range(0, len(units), _AT_ONCE):
        draws = keyed_uniform(units[start : start + _AT_ONCE], 2, key)
        drawn[start : start + _AT_ONCE] = (draws >> np.uint64(44)).astype(np.int64)
    return drawn


def first_left(rows_per_bucket: Ints, most: int | None) -> int:
    """The first bucket whose units an audit does not see, when it may see ``most`` rows."""
    return BUCKETS if most is None else int(np.searchsorted(np.cumsum(rows_per_bucket), most, side="right"))


def set_aside(table: CodedTable, units: Ints, cohort: Cohort, key: int) -> tuple[CodedTable, Callable[[], AuditTables]]:
    """The rows that train, and what an audit is given when it asks."""
    member, out = sides(units, cohort.share, key)
    control, control_units = table.take(out), units[out]
    trains = np.flatnonzero(~out)
    train, train_units, member = taken(table, trains), units[trains], member[trains]

    def for_audit() -> AuditTables:
        members = np.unique(train_units[member])
        if cohort.audited_rows is None or train.n_rows - int(member.sum()) <= cohort.audited_rows:
            return AuditTables(train, train_units, control, control_units, members, train.n_rows)
        drawn = buckets(train_units, key)
        seen = np.flatnonzero(member | (drawn < first_left(np.bincount(drawn[~member], minlength=BUCKETS), cohort.audited_rows)))
        return AuditTables(train.take(seen), train_units[seen], control, control_units, members, train.n_rows)

    return train, for_audit
