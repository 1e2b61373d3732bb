"""Singling out (Article 29 Working Party, opinion 05/2014): conditions read off the release that fit exactly one real
person.

Conditions are counted on members and on strangers; those that fit a stranger alone are luck, not leakage. Where the cohort is too small
a share of train to be hit by chance, they are aimed at it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.bounds import lower_bound, mcnemar, upper_bound
from audits.nearest import Space, nearest_of_many
from audits.result import AuditInput, AuditResult
from audits.risk import Successes, measure
from audits.tables import Codes, Ints, Prepared, fingerprints, prepare
from audits.verdicts import allowed, answer, inconclusive

PREDICATES = {"smoke": 500, "standard": 1500, "deep": 5000}
"""Conditions wanted for each time the cohort fits into train, since only that share can hit a cohort member."""
MIN_PREDICATES = 200
"""Fewer, counted the same way, say too little."""
_ATTEMPTS = {"smoke": 20_000, "standard": 100_000, "deep": 1_000_000}
_MAX_GENERATED = 60_000
_MAX_COLUMNS = 8
_BATCH = 512
_PATIENCE = 10
_AIMED_TRIES = 10


@dataclass(frozen=True)
class Predicate:
    """A conjunction: per column a code and -1 (at most), 0 (equal) or +1 (at least)."""

    columns: tuple[int, ...]
    codes: tuple[int, ...]
    directions: tuple[int, ...]


@dataclass(frozen=True)
class Index:
    """A table whose single-column conditions are slices of a sorted order, so that a conjunction starts from its
    rarest part."""

    codes: Codes
    order: Ints
    ranked: Codes

    @classmethod
    def of(cls, codes: Codes) -> Index:
        """Sort every column once."""
        order = np.asfortranarray(np.argsort(codes, axis=0, kind="stable"))
        return cls(np.asfortranarray(codes), order, np.asfortranarray(np.take_along_axis(codes, order, axis=0)))

    def matches(self, predicate: Predicate) -> Ints:
        """Rows that satisfy every part. A missing value (code 0) satisfies no inequality."""
        parts = list(zip(predicate.columns, predicate.codes, predicate.directions, strict=True))
        spans = [self._span(*part) for part in parts]
        first = min(range(len(spans)), key=lambda i: spans[i][1] - spans[i][0])
        low, high = spans[first]
        rows = np.asarray(self.order[low:high, predicate.columns[first]], dtype=np.int64)
        for i, part in enumerate(parts):
            if i != first and len(rows):
                rows = rows[self._holds(rows, *part)]
        return rows

    def holds(self, predicate: Predicate, rows: Ints) -> npt.NDArray[np.bool_]:
        """Which of these rows satisfy the first part."""
        return self._holds(rows, predicate.columns[0], predicate.codes[0], predicate.directions[0])

    def _holds(self, rows: Ints, j: int, code: int, direction: int) -> npt.NDArray[np.bool_]:
        values = self.codes[rows, j]
        if direction == 0:
            return np.asarray(values == code)
        return np.asarray(values >= code if direction > 0 else (values <= code) & (values > 0))

    def _span(self, j: int, code: int, direction: int) -> tuple[int, int]:
        column = self.ranked[:, j]
        low = int(np.searchsorted(column, code if direction >= 0 else 1, "left"))
        high = len(column) if direction > 0 else int(np.searchsorted(column, code, "right"))
        return low, max(low, high)


def single_out(data: AuditInput) -> AuditResult:
    """Generate conditions that fit one synthetic record, and count the members and the strangers each fits alone.

    ``value`` is the excess of conditions that single out a member over those that single out a stranger, per generated condition and scaled
    to the whole training table (the cohort holds a known share of it), divided by what strangers leave to gain; where conditions are
    aimed, the excess of members singled out. The verdict counts people, not conditions: the share of members singled out by any
    condition, a test of membership, so the claim caps it.
    """
    started, name = time.perf_counter(), "singling_out"
    prepared = prepare(data)
    if prepared.unusable:
        return inconclusive(name, data, started, prepared.unusable)
    game = prepared.game
    if _MAX_GENERATED * game.share < MIN_PREDICATES:
        return _aim(prepared, name, data, started)
    wanted = int(min(_MAX_GENERATED, np.ceil(PREDICATES[prepared.tier] / game.share)))
    predicates, tried = _generate(prepared, wanted)
    n, effective = len(predicates), len(predicates) * game.share
    details = {"tried": tried, "share_of_train": game.share, "effective": effective}
    if effective < MIN_PREDICATES:
        reason = f"{len(predicates)} of {tried} conditions fit one synthetic record; too few to judge"
        return inconclusive(name, data, started, reason, n=n, details=details)
    found = _count(prepared, predicates)
    b, d = found.members_only, found.strangers_only
    share_out = game.n_strangers * game.share / game.n_members
    on_members, on_strangers = b / len(predicates) / game.share, d / len(predicates) / share_out
    low, high = _excess(b, d, len(predicates), game.share, share_out)
    people = measure(prepared, Successes(found.singled, np.ones(len(found.singled)), n))
    if people is None or on_strangers >= 0.99:
        return inconclusive(name, data, started, "strangers are singled out as often as can be", n=n, details=details)
    room = 1.0 - on_strangers
    return answer(
        name, data, started,
        value=max(0.0, (on_members - on_strangers) / room),
        interval=(max(0.0, low / room), min(1.0, max(0.0, high / room))),
        n=n, p_value=people.p_value, detectable=people.detectable, unit="a share of members singled out",
        violated=f"members are singled out more often than {allowed(data)}",
        details={
            **details, "on_members": on_members, "on_strangers": on_strangers, "mcnemar_p": mcnemar(b, d),
            "members_singled_out": people.on_members, "strangers_singled_out": people.on_strangers,
        },
    )  # fmt: skip


def _aim(prepared: Prepared, name: str, data: AuditInput, started: float) -> AuditResult:
    """One condition for each person of the cohort, read off the synthetic record most like theirs: how many does it single out?

    Members and strangers are aimed at alike, so it is a test of membership as any other, and its power does not fall with the table.
    """
    predicates, tried = _aimed(prepared)
    n, details = len(predicates), {"tried": tried, "share_of_train": prepared.game.share, "aimed": True}
    found = _count(prepared, predicates)
    people = measure(prepared, Successes(found.singled, np.ones(len(found.singled)), n))
    if n < MIN_PREDICATES or people is None:
        reason = f"{n} of {tried} conditions fit one synthetic record; too few to judge"
        if n >= MIN_PREDICATES:
            reason = "strangers are singled out as often as can be"
        return inconclusive(name, data, started, reason, n=n, details=details)
    return answer(
        name, data, started,
        value=people.value, interval=(people.low, people.high), n=n, p_value=people.p_value,
        detectable=people.detectable, unit="a share of members singled out",
        violated=f"members are singled out more often than {allowed(data)}",
        details={**details, "members_singled_out": people.on_members, "strangers_singled_out": people.on_strangers},
    )  # fmt: skip


@dataclass(frozen=True)
class _Found:
    members_only: int
    strangers_only: int
    singled: npt.NDArray[np.float64]


def _count(prepared: Prepared, predicates: list[Predicate]) -> _Found:
    """Conditions that fit exactly one person of train and control together, by side, and whom they fit.

    Counting in the union makes the two sides mirror images: only who was in training differs between them.
    """
    game = prepared.game
    cohort = Index.of(prepared.real.fine[game.rows])
    rest = Index.of(prepared.real.fine[game.rest])
    counts = [0, 0]
    singled = np.zeros(len(game.member))
    for predicate in predicates:
        owners = game.owner[cohort.matches(predicate)]
        if not len(owners) or (owners != owners[0]).any() or len(rest.matches(predicate)):
            continue
        counts[0 if game.member[owners[0]] else 1] += 1
        singled[owners[0]] = 1.0
    return _Found(counts[0], counts[1], singled)


def _excess(b: int, d: int, n: int, share_in: float, share_out: float) -> tuple[float, float]:
    """95 % interval of b/(n share_in) - d/(n share_out): exact bounds of each rate, combined by the square-and-add
    rule (Zou and Donner 2008)."""
    p, q = b / n, d / n
    p_low, p_high = lower_bound(b, n, 0.025) / share_in, upper_bound(b, n, 0.025) / share_in
    q_low, q_high = lower_bound(d, n, 0.025) / share_out, upper_bound(d, n, 0.025) / share_out
    centre = p / share_in - q / share_out
    below = np.hypot(p / share_in - p_low, q_high - q / share_out)
    above = np.hypot(p_high - p / share_in, q / share_out - q_low)
    return float(centre - below), float(centre + above)


def _generate(prepared: Prepared, wanted: int) -> tuple[list[Predicate], int]:
    """Distinct conditions, each true of exactly one synthetic record, and how many were tried.

    Take a record and a few columns; ask for its value, or on an ordered column, every other time, for a value at
    least as extreme (seen from the median). Add the columns rarest first and stop once the record stands alone: rare
    values, tails and short conjunctions are what singles out. Repeated synthetic records count as one, since a copy
    made twice still points at one person.
    """
    rng = prepared.rng("predicates")
    synth = prepared.synth.fine[np.unique(fingerprints(prepared.synth.fine), return_index=True)[1]]
    index = Index.of(synth)
    n = len(synth)
    medians = index.ranked[n // 2]
    limit = _ATTEMPTS[prepared.tier]
    seen: set[Predicate] = set()
    found: list[Predicate] = []
    tried, before = 0, 0
    while tried < limit and len(found) < wanted:
        if tried and tried % (_PATIENCE * _BATCH) == 0:
            if len(found) - before < _BATCH // 100:
                break  # nearly every condition there is has been found
            before = len(found)
        records = rng.integers(0, n, _BATCH)
        codes = synth[records]
        directions, by_rarity = _parts(prepared, index, codes, medians, rng)
        for i in range(_BATCH):
            predicate = _shortest(index, by_rarity[i].tolist(), codes[i], directions[i])
            tried += 1
            if predicate is not None and predicate not in seen:
                seen.add(predicate)
                found.append(predicate)
    return found[:wanted], tried


def _aimed(prepared: Prepared) -> tuple[list[Predicate], int]:
    """For each target at most one condition that is true of its nearest synthetic record alone, and how many were tried."""
    rng = prepared.rng("aimed predicates")
    synth = prepared.synth.take(np.unique(fingerprints(prepared.synth.fine), return_index=True)[1])
    space = Space(prepared.ordered, prepared.sizes, tuple(range(len(prepared.names))))
    _, records = nearest_of_many(space, prepared.real.take(prepared.targets[0]), synth, rng)
    index = Index.of(synth.fine)
    medians = index.ranked[len(synth) // 2]
    found: list[Predicate] = []
    tried = 0
    for record in rng.permutation(records):
        codes = np.broadcast_to(synth.fine[record], (_AIMED_TRIES, len(prepared.names)))
        directions, by_rarity = _parts(prepared, index, codes, medians, rng)
        for i in range(_AIMED_TRIES):
            tried += 1
            predicate = _shortest(index, by_rarity[i].tolist(), codes[i], directions[i])
            if predicate is not None:
                found.append(predicate)
                break
    return found, tried


def _parts(prepared: Prepared, index: Index, codes: Codes, medians: Codes, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """For each record the directions of its parts, and some columns of it, rarest first."""
    rows, d = codes.shape
    tails = prepared.ordered & (codes > 0) & (rng.random((rows, d)) < 0.5)
    directions = np.where(tails, np.where(codes > medians, 1, -1), 0)
    spans = _spans(index, codes, directions)
    chosen = np.argsort(rng.random((rows, d)), axis=1)[:, : min(_MAX_COLUMNS, d)]
    return directions, np.take_along_axis(chosen, np.argsort(np.take_along_axis(spans, chosen, axis=1), axis=1), axis=1)


def _shortest(index: Index, columns: list[int], codes: Codes, directions: Ints) -> Predicate | None:
    """The first conjunction of leading ``columns`` that leaves one row, if any does."""
    rows: Ints | None = None
    for width, j in enumerate(columns, 1):
        part = Predicate((j,), (int(codes[j]),), (int(directions[j]),))
        rows = index.matches(part) if rows is None else rows[index.holds(part, rows)]
        if len(rows) == 1:
            used = sorted(columns[:width])
            return Predicate(tuple(used), tuple(int(codes[u]) for u in used), tuple(int(directions[u]) for u in used))
    return None


def _spans(index: Index, codes: Codes, directions: Ints) -> Ints:
    """How many rows satisfy each single part."""
    out = np.empty(codes.shape, dtype=np.int64)
    n = len(index.codes)
    for j in range(codes.shape[1]):
        column, value, way = index.ranked[:, j], codes[:, j], directions[:, j]
        low = np.searchsorted(column, np.where(way >= 0, value, 1), "left")
        out[:, j] = np.where(way > 0, n, np.searchsorted(column, value, "right")) - low
    return out
