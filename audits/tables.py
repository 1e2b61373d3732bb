"""The tables of an audit as integer codes, and the game every attack plays: members against strangers.

Codes are computed from train, control and synthetic alike, so they treat members and non-members the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audits.caps import Caps, caps_for
from audits.result import AuditError, AuditInput, Column

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]

BINS = 32
LEVELS = 64
COHORT = {"smoke": 1000, "standard": 2000, "deep": 5000}
"""Most units on each side of the game, by tier."""
ATTACKS = {"smoke": 1000, "standard": 2000, "deep": 5000}
"""Most rows attacked on each side, by tier."""
MIN_UNITS = 50
"""Fewer units than this on either side make every attack inconclusive."""
_FEWEST_IN_FOLD = 10


@dataclass(frozen=True)
class Coded:
    """One table as codes: ``fine`` tells all values apart, ``coarse`` has at most BINS + 1 or LEVELS + 1 codes. Code
    0 is missing."""

    fine: Codes
    coarse: Codes

    def __len__(self) -> int:
        return len(self.fine)

    def take(self, rows: npt.NDArray[Any]) -> Coded:
        """The rows at these positions."""
        return Coded(self.fine[rows], self.coarse[rows])


@dataclass(frozen=True)
class Game:
    """Who is in and who is out. Units are positions in sorted unit ids: train units first, then control units.

    ``rows``/``owner``: the cohort's rows of the stacked table (train above control) and, for each, its position in
    the cohort; ``member`` per cohort unit. ``rest`` are the train rows of units outside the cohort, which the
    strongest attacker knows, or as many of them as train holds. ``coin`` says that each unit's membership was an
    independent fair coin; ``share`` is the cohort members' share of all units trained on.
    """

    rows: Ints
    owner: Ints
    member: npt.NDArray[np.bool_]
    fold: Ints
    rest: Ints
    coin: bool
    share: float

    @property
    def n_members(self) -> int:
        """Units of the cohort that the synthesizer saw."""
        return int(self.member.sum())

    @property
    def n_strangers(self) -> int:
        """Units of the cohort that it did not see."""
        return int((~self.member).sum())

    def per_unit(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sum over each cohort unit of one value per cohort row."""
        return np.asarray(np.bincount(self.owner, weights=values, minlength=len(self.member)), dtype=np.float64)


@dataclass(frozen=True)
class Prepared(AuditInput):
    """An audit input with what several attacks need, computed once. ``memo`` keeps per-unit attack results for the
    outlier figures."""

    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The audited columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def ordered(self) -> npt.NDArray[np.bool_]:
        """Which columns have an order."""
        return np.array([column.kind == "ordered" for column in self.columns])

    @property
    def frames(self) -> list[pd.DataFrame]:
        """The tables there are: train, control, synthetic."""
        return [frame for frame in (self.train, self.control, self.synthetic) if frame is not None]

    @cached_property
    def _coded(self) -> tuple[Coded, Coded, Ints]:
        """Train above control, the release, and the number of coarse codes of each column."""
        frames = [self.train, self.control, self.synthetic]
        lengths = [0 if frame is None else len(frame) for frame in frames]
        n_before = lengths[0] + lengths[1]
        # Column after column: whatever counts reads a few whole columns of many rows.
        fine = np.empty((sum(lengths), len(self.columns)), dtype=np.int32, order="F")
        coarse = np.empty_like(fine)
        for j, column in enumerate(self.columns):
            values = [_values(frame, column) for frame in self.frames]
            fine[:, j] = _fine_codes(values, column)
            coarse[:, j] = _coarse_codes(fine[:, j], n_before, column)
        sizes = coarse.max(axis=0, initial=0).astype(np.int64) + 1
        return Coded(fine[:n_before], coarse[:n_before]), Coded(fine[n_before:], coarse[n_before:]), sizes

    @property
    def real(self) -> Coded:
        """Train above control."""
        return self._coded[0]

    @property
    def synth(self) -> Coded:
        """The synthetic table."""
        return self._coded[1]

    @property
    def sizes(self) -> Ints:
        """Number of coarse codes of each column."""
        return self._coded[2]

    @property
    def n_train(self) -> int:
        """Rows of the training table."""
        return 0 if self.train is None else len(self.train)

    @property
    def n_trained(self) -> int:
        """Rows of the table that train is, or is a sample of."""
        return self.n_train if self.trained is None else max(self.trained, self.n_train)

    @cached_property
    def units(self) -> tuple[Ints, Ints]:
        """Unit id of each train and control row; a row without one is a unit of its own."""
        n_control = 0 if self.control is None else len(self.control)
        train = _unit_ids(self.train_units, self.n_train, "train_units")
        control = _unit_ids(self.control_units, n_control, "control_units")
        return train, control

    @cached_property
    def game(self) -> Game:
        """The members and strangers of this release; who plays depends on ``seed`` and on no value of any record."""
        return _game(self)

    @cached_property
    def caps(self) -> Caps:
        """What the claim allows an attacker in this game."""
        return caps_for(self.claim, coin=self.members is not None)

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, so that one audit's draws never move another's."""
        return np.random.default_rng([self.seed, *purpose.encode()])

    @cached_property
    def targets(self) -> tuple[Ints, Ints]:
        """Rows to attack and the cohort position of each: at most ATTACKS rows a side, spread evenly over the units."""
        game, rng = self.game, self.rng("targets")
        limit = ATTACKS[self.tier]
        order = rng.permutation(len(game.rows))
        turn = _turns(game.owner[order])
        keep = []
        for side in (True, False):
            mine = order[game.member[game.owner[order]] == side]
            turns = turn[game.member[game.owner[order]] == side]
            keep.append(mine[np.argsort(turns, kind="stable")][:limit])
        chosen = np.sort(np.concatenate(keep))
        return game.rows[chosen], game.owner[chosen]

    @cached_property
    def references(self) -> list[tuple[npt.NDArray[np.bool_], Ints]]:
        """Per fold of the cohort: its units as a mask, and real rows without them that stand for the population.

        The rest of train if that is large; otherwise the other fold as well, members and strangers alike, so that
        neither side is in its own reference.
        """
        game = self.game
        everyone = np.ones(len(game.member), dtype=bool)
        if len(game.rest) >= 2 * len(game.rows):
            return [(everyone, game.rest)]
        return [
            (game.fold == k, np.concatenate([game.rest, game.rows[game.fold[game.owner] != k]]))
            for k in (0, 1)
        ]  # fmt: skip

    @cached_property
    def unusable(self) -> str | None:
        """Why no attack on members can be judged here, or None."""
        return _unusable(self)


def prepare(data: AuditInput) -> Prepared:
    """``data`` with its shared computations; unchanged if it has them."""
    if isinstance(data, Prepared):
        return data
    if data.tier not in COHORT:
        raise AuditError(f"tier={data.tier!r} must be one of {', '.join(COHORT)}")
    if not data.columns:
        raise AuditError("columns is empty: nothing to audit")
    for label, frame in (("train", data.train), ("control", data.control), ("synthetic", data.synthetic)):
        missing = [] if frame is None else [c.name for c in data.columns if c.name not in frame.columns]
        if missing:
            raise AuditError(f"column {missing[0]!r} is not in the {label} table")
    return Prepared(**{f.name: getattr(data, f.name) for f in fields(AuditInput)})


def infer_columns(frames: Mapping[str, pd.DataFrame] | Sequence[pd.DataFrame]) -> tuple[Column, ...]:
    """Columns of tables that come without a schema: those in every table; numbers and dates are ordered, the rest
    categorical.

    Reads types, not values: a column of digits kept as text stays categorical. Roles are ``other``.
    """
    from pandas.api import types

    tables = list(frames.values() if isinstance(frames, Mapping) else frames)
    if not tables:
        raise AuditError("no table to infer columns from")
    names = [name for name in tables[0].columns if all(name in table.columns for table in tables)]
    if not names:
        raise AuditError("the tables have no column in common")

    def is_ordered(name: str) -> bool:
        kinds = [table[name].dtype for table in tables]
        return all(
            (types.is_numeric_dtype(k) and not types.is_bool_dtype(k) and not types.is_complex_dtype(k))
            or types.is_datetime64_any_dtype(k)
            or types.is_timedelta64_dtype(k)
            for k in kinds
        )

    return tuple(
        Column(
            str(name),
            "ordered" if is_ordered(name) else "categorical",
            nullable=any(bool(table[name].isna().any()) for table in tables),
        )
        for name in names
    )


def cells(columns: Sequence[int], sizes: Ints) -> int:
    """Number of coarse cells of these columns."""
    return math.prod(int(sizes[j]) for j in columns)


def flat(codes: Codes, columns: Sequence[int], sizes: Ints) -> Ints:
    """Row-major coarse cell of each row over these columns."""
    index = codes[:, columns[0]].astype(np.int64)
    for j in columns[1:]:
        index = index * int(sizes[j]) + codes[:, j]
    return index


def numbers(data: Prepared, j: int) -> npt.NDArray[np.float64]:
    """The values of an ordered column, train above control above synthetic, missing as NaN; dates count
    microseconds."""
    return np.asarray(np.concatenate([_values(frame, data.columns[j]) for frame in data.frames]), dtype=np.float64)


def labels(data: Prepared, j: int) -> list[str]:
    """A text for each coarse code of a column, for internal figures: they are values of the real tables."""
    import pandas as pd

    column = data.columns[j]
    codes = np.concatenate([data.real.coarse[:, j], data.synth.coarse[:, j]])
    out = ["(missing)"] + ["(none)"] * (int(data.sizes[j]) - 1)
    if column.kind != "ordered":
        values = np.concatenate([_values(frame, column) for frame in data.frames])
        fine = np.concatenate([data.real.fine[:, j], data.synth.fine[:, j]])
        _, first, inverse = np.unique(fine, return_index=True, return_inverse=True)
        for code in range(1, len(out)):
            members = np.unique(inverse.reshape(-1)[codes == code])
            if len(members):
                out[code] = str(values[first[members[0]]]) if len(members) == 1 else f"(other {len(members)})"
        return out
    values = numbers(data, j)
    dated = any(pd.api.types.is_datetime64_any_dtype(frame[column.name].dtype) for frame in data.frames)
    for code in range(1, len(out)):
        inside = values[codes == code]
        if len(inside):
            ends = [_number_text(x, dated) for x in (inside.min(), inside.max())]
            out[code] = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    return out


def _number_text(value: float, dated: bool) -> str:
    import pandas as pd

    return str(pd.Timestamp(int(value), unit="us").date()) if dated else f"{value:g}"


def fingerprints(codes: Codes) -> npt.NDArray[np.uint64]:
    """One 64-bit hash a row: equal rows agree, others differ but for a chance of about n^2 / 2^64."""
    state = np.full(len(codes), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for j in range(codes.shape[1]):
        # splitmix64's finaliser after each column
        state = state * np.uint64(0xD1342543DE82EF95) + codes[:, j].astype(np.uint64) + np.uint64(j + 1)
        state ^= state >> np.uint64(30)
        state *= np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state *= np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def chunks(n: int, size: int) -> Iterator[slice]:
    """Consecutive slices that cover ``range(n)``."""
    for start in range(0, n, size):
        yield slice(start, min(n, start + size))


def _values(frame: pd.DataFrame, column: Column) -> npt.NDArray[Any]:
    import pandas as pd

    series = frame[column.name]
    if column.kind != "ordered":
        return series.astype(object).to_numpy()
    if pd.api.types.is_datetime64_any_dtype(series.dtype) or pd.api.types.is_timedelta64_dtype(series.dtype):
        stamps = series.to_numpy()
        numbers = stamps.astype(stamps.dtype.str.split("[")[0] + "[us]").astype(np.int64).astype(np.float64)
        return np.where(series.isna().to_numpy(), np.nan, numbers)
    return pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _fine_codes(values: list[npt.NDArray[Any]], column: Column) -> Codes:
    import pandas as pd

    stacked = np.concatenate(values)
    if column.kind == "ordered":
        _, inverse = np.unique(stacked, return_inverse=True)
        codes = inverse.reshape(-1).astype(np.int32) + 1
        codes[np.isnan(stacked)] = 0
        return np.asarray(codes, dtype=np.int32)
    codes, levels = pd.factorize(stacked, use_na_sentinel=True)
    # Numbered by name: numbers in order of appearance would tell train from control.
    place = np.empty(len(levels) + 1, dtype=np.int32)
    place[sorted(range(len(levels)), key=lambda k: (str(levels[k]), type(levels[k]).__name__))] = np.arange(1, len(levels) + 1)
    place[-1] = 0
    return np.asarray(place[codes], dtype=np.int32)


def _coarse_codes(fine: Codes, n_before: int, column: Column) -> Codes:
    """At most BINS ordered bins (quantiles of the synthetic column) or the LEVELS most frequent synthetic levels and
    one for the rest."""
    present = fine[n_before:][fine[n_before:] > 0]
    reference = present if len(present) else fine[fine > 0]
    n_codes = int(fine.max(initial=0))
    if n_codes <= (BINS if column.kind == "ordered" else LEVELS) or not len(reference):
        return fine
    if column.kind == "ordered":
        edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS, method="lower"))
        return np.where(fine > 0, np.searchsorted(edges, fine, side="left") + 1, 0).astype(np.int32)
    frequency = np.bincount(reference, minlength=n_codes + 1)
    frequency[0] = -1
    kept = np.argsort(-frequency, kind="stable")[: LEVELS - 1]
    lookup = np.full(n_codes + 1, LEVELS, dtype=np.int32)
    lookup[kept] = np.arange(1, LEVELS)
    lookup[0] = 0
    return lookup[fine]


def _unit_ids(units: npt.NDArray[np.int64] | None, n_rows: int, label: str) -> Ints:
    if units is None:
        return np.arange(n_rows, dtype=np.int64)
    ids = np.asarray(units, dtype=np.int64)
    if ids.shape != (n_rows,):
        raise AuditError(f"{label} has shape {ids.shape}, the table has {n_rows} rows")
    return ids


def _turns(owner: Ints) -> Ints:
    """For each entry, how many earlier entries have the same owner."""
    order = np.argsort(owner, kind="stable")
    ordered = owner[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(ordered)])
    turns = np.empty(len(owner), dtype=np.int64)
    turns[order] = np.arange(len(owner)) - np.repeat(starts, lengths)
    return turns


def _game(data: Prepared) -> Game:
    train_ids, control_ids = data.units
    inside, outside = np.unique(train_ids), np.unique(control_ids)
    rng, limit = data.rng("game"), COHORT[data.tier]
    coin = data.members is not None
    if coin:
        members = np.intersect1d(inside, np.asarray(data.members, dtype=np.int64))
        pool = np.concatenate([members, outside])
        is_member = np.arange(len(pool)) < len(members)
        # Thinning the pool without looking at who is a member keeps the coins fair and independent.
        keep = rng.permutation(len(pool))[: 2 * limit]
        members, strangers = pool[keep[is_member[keep]]], pool[keep[~is_member[keep]]]
    else:
        size = min(len(inside), len(outside), limit)
        members = rng.choice(inside, size, replace=False)
        strangers = rng.choice(outside, size, replace=False)
    position_in = _positions(inside, members)
    position_out = _positions(outside, strangers)
    train_owner = position_in[np.searchsorted(inside, train_ids)]
    control_owner = position_out[np.searchsorted(outside, control_ids)]
    control_owner = np.where(control_owner >= 0, control_owner + len(members), -1)
    owner = np.concatenate([train_owner, control_owner])
    rows = np.flatnonzero(owner >= 0)
    member = np.arange(len(members) + len(strangers)) < len(members)
    # Two folds, each with the same share of members: shuffled ranks within a side, split by parity.
    fold = np.empty(len(member), dtype=np.int64)
    for side in (True, False):
        mine = np.flatnonzero(member == side)
        fold[rng.permutation(mine)] = np.arange(len(mine)) % 2
    return Game(
        rows=rows,
        owner=owner[rows],
        member=member,
        fold=fold,
        rest=np.flatnonzero(train_owner < 0),
        coin=coin,
        share=len(members) / max(1, len(inside)) * data.n_train / max(1, data.n_trained),
    )


def _positions(units: Ints, chosen: Ints) -> Ints:
    """For each of the sorted ``units`` its position in ``chosen``, or -1."""
    positions = np.full(len(units), -1, dtype=np.int64)
    positions[np.searchsorted(units, chosen)] = np.arange(len(chosen))
    return positions


def _unusable(data: Prepared) -> str | None:
    if data.train is None or data.control is None:
        return "needs a train and a control table"
    if len(data.synthetic) == 0:
        return "the synthetic table is empty"
    train_ids, control_ids = data.units
    identified = data.train_units is not None and data.control_units is not None
    if identified and len(np.intersect1d(train_ids, control_ids)):
        return "train and control share units"
    game = data.game
    if min(game.n_members, game.n_strangers) < MIN_UNITS:
        return f"{game.n_members} members and {game.n_strangers} strangers; needs {MIN_UNITS} of each"
    hashes = fingerprints(data.real.fine)
    if (hashes[game.rows] == hashes[game.rows[0]]).all():
        return "all records are alike: nobody can be told from anybody"
    if game.coin:
        return None
    return _reappearing(data, hashes) or _shifted(data, hashes)


def _reappearing(data: Prepared, hashes: npt.NDArray[np.uint64]) -> str | None:
    """Rows repeat within train about as often as control rows repeat train's, if rows are people and control is a control table."""
    from audits.bounds import lower_bound, upper_bound

    train, control = hashes[: data.n_train], hashes[data.n_train :]
    _, inverse, counts = np.unique(train, return_inverse=True, return_counts=True)
    repeated = float(np.mean(counts[inverse.reshape(-1)] > 1))
    found = int(np.isin(control, train).sum())
    if lower_bound(found, len(control), 1e-6) > repeated + 0.05:
        return "control rows reappear in train far more often than train rows do"
    if data.train_units is None and upper_bound(found, len(control), 1e-6) < repeated - 0.05:
        # A member's twin in the rest of train would give it away without the release.
        return "train rows repeat each other far more often than control rows repeat them: people have several rows, and no unit was given"
    return None


def _shifted(data: Prepared, hashes: npt.NDArray[np.uint64]) -> str | None:
    """A classifier that tells train from control without the synthetic table means that a gap says nothing about
    leakage.

    Two folds of one row a unit, so that rows are independent, equal rows in the same fold; wrong with probability 0.001 for exchangeable
    tables.
    """
    from sklearn.ensemble import RandomForestClassifier

    from audits.bounds import auc, auc_exceeds

    rng = data.rng("shift")
    train_ids, control_ids = data.units
    sides = []
    for ids, offset in ((train_ids, 0), (control_ids, data.n_train)):
        order = rng.permutation(len(ids))
        first = order[_turns(ids[order]) == 0]
        sides.append(first[:3000] + offset)
    size = min(map(len, sides))
    rows = np.concatenate([side[:size] for side in sides])
    label = np.arange(2 * size) < size
    half = (hashes[rows] >> np.uint64(17)).astype(np.int64) % 2
    # Fine codes are ranks, so that small shifts of a continuous column are seen too.
    features = data.real.fine[rows].astype(np.float64)
    p_value = 1.0
    if min(int(np.sum(label[half == k] == side)) for k in (0, 1) for side in (True, False)) < _FEWEST_IN_FOLD:
        return None
    for k in (0, 1):
        model = RandomForestClassifier(60, min_samples_leaf=5, random_state=data.seed % 2**32)
        model.fit(features[half != k], label[half != k])
        score = model.predict_proba(features[half == k])[:, 1]
        mine = label[half == k]
        value, variance = auc(score[mine], score[~mine])
        n_in, n_out = int(mine.sum()), int((~mine).sum())
        p_value = min(p_value, auc_exceeds(value, variance, n_in, n_out, 0.5))
    if 2 * p_value <= 0.001:
        return "train and control differ without the synthetic table: the control is not from the same population"
    return None
