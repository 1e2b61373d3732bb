"""Runs a mechanism on a toy table, then on neighbours with every noisy answer frozen: only the exact answers may move.

Deterministic: it finds sensitivity, domain and control-flow defects, and is blind to the noise itself (see
`residuals`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from audits.code import toy as toys
from audits.code.recomposition import total_delta, total_rho
from audits.code.recorder import RELEASES, THRESHOLD, Call, Outcome, Recorder, Replayer, observe
from audits.code.toy import Toy
from audits.result import AuditInput, AuditResult, Mechanism, Verdict

if TYPE_CHECKING:
    import pandas as pd

NAME = "record_replay"
_UNITS = {"smoke": 100, "standard": 150, "deep": 200}
_SHOWN = 50
# Units of the largest table: this many for each row of a unit and 1/mu, so that a count of them all stands out from noise this many times.
_SIGNAL = 1_500.0
_MOST_MANY = 60_000
# Float rounding of scores; integer answers are compared exactly up to this.
_TOLERANCE = 1e-9
# Distances between tables that differ in more than one unit are not bounded by the sensitivity.
_FAR = math.inf


@dataclass(frozen=True)
class _Neighbour:
    """A table to replay on. ``units`` is how many adds and removes away it is, in declared sensitivities."""

    label: str
    table: pd.DataFrame
    units: float
    whole: bool = True


@dataclass(frozen=True)
class _Base:
    """A table to record on, and its neighbours. Without ``must_run`` its public types may be refused."""

    label: str
    table: pd.DataFrame
    neighbours: Sequence[_Neighbour]
    must_run: bool = True


@dataclass
class _Tally:
    """What has been seen so far."""

    failures: list[dict[str, str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    reach: dict[str, float] = field(default_factory=dict)
    pairs: int = 0
    releases: int = 0
    moved: bool = False

    def fail(self, neighbour: str, stage: str, check: str) -> None:
        self.failures.append({"neighbour": neighbour, "stage": stage, "check": check})


def record_replay(inp: AuditInput) -> AuditResult:
    """Replay a recorded run on every kind of neighbour and compare calls, sensitivities, exceptions and artefacts.

    ``value`` is the largest observed distance over its declared sensitivity (above 1 is a violation). ``detectable``
    is the factor by which the sensitivity of the least exercised stage could be understated without being seen on
    these neighbours.
    """
    started = time.perf_counter()
    mechanism = inp.mechanism
    if mechanism is None:
        return _result(None, _Tally(), Verdict.INCONCLUSIVE, "no mechanism was given", started)
    if inp.tier not in _UNITS:
        return _result(mechanism, _Tally(), Verdict.INCONCLUSIVE, f"tier={inp.tier!r} is unknown", started)
    tally = _Tally()
    for base in _bases(mechanism, inp.tier, inp.seed):
        _audit_base(mechanism, base, tally)
        if tally.doubts and not tally.failures:
            break
    if tally.failures:
        first = tally.failures[0]
        where = f"neighbour {first['neighbour']}, stage {first['stage']}"
        reason = f"{len(tally.failures)} failed checks; first: {first['check']} ({where})"
        return _result(mechanism, tally, Verdict.VIOLATION, reason, started)
    if not tally.doubts and tally.releases == 0:
        tally.doubts.append("the mechanism showed no release to the hook")
    if not tally.doubts and not tally.moved:
        tally.doubts.append("no neighbour moved any exact answer: the hook does not see the records")
    if tally.doubts:
        return _result(mechanism, tally, Verdict.INCONCLUSIVE, tally.doubts[0], started)
    return _result(mechanism, tally, Verdict.NOT_FALSIFIED, f"{tally.pairs} neighbours behaved alike", started)


# --- comparing


def _audit_base(mechanism: Mechanism, base: _Base, tally: _Tally) -> None:
    recorder = Recorder()
    recorded = observe(mechanism, base.table, recorder)
    if recorded.error is not None and not recorded.calls and not base.must_run:
        tally.notes.add(f"{base.label}: refused ({recorded.error[0]})")
        return
    if recorded.error is not None and base.label == "ordinary":
        tally.doubts.append(f"the mechanism fails on an ordinary toy table ({recorded.error[0]})")
        return
    if recorded.error is not None and not any(call.kind in RELEASES for call in recorded.calls):
        # No noise yet, and a chain of neighbours leads here from the ordinary table, which ran: some pair on it differs.
        tally.fail(base.label, _last_stage(recorded.calls), f"raises {recorded.error[0]} on this table and not on others")
        return
    if recorded.error is not None:
        # Perhaps only these noisy answers make it fail, on all tables alike; the neighbours below will tell.
        tally.doubts.append(f"the mechanism fails on some noise ({recorded.error[0]})")
    tally.releases += len(recorded.calls)
    if total_rho([call.event for call in recorded.calls]) > mechanism.claim.rho * (1.0 + 1e-7):
        tally.fail(base.label, "all", "the releases together cost more than the claim's rho")
    if total_delta([call.event for call in recorded.calls]) > mechanism.claim.threshold_delta * (1.0 + 1e-7):
        tally.fail(base.label, "all", "the releases of values together cost more delta than the claim sets aside")
    if recorded.written is not None and not _written_down(recorded):
        tally.fail(base.label, "all", "the transcript is not a list of what the hook saw")
    found = len(tally.failures)
    for neighbour in base.neighbours:
        stop = None if neighbour.whole or recorded.error is not None else max(1, len(recorded.calls))
        replayed = observe(mechanism, neighbour.table, Replayer(recorded.calls, stop_after=stop))
        _compare(f"{base.label}/{neighbour.label}", recorded, replayed, neighbour, tally)
        tally.pairs += 1
    if base.label != "ordinary" and len(tally.failures) == found:
        return
    again = observe(mechanism, base.table, Replayer(recorded.calls))
    if not _same_run(recorded, again):
        # What was found on this table may be chance.
        del tally.failures[found:]
        if getattr(mechanism, "deterministic", False):
            tally.fail(base.label, _last_stage(again.calls), "two runs with the same answers differ: something goes round the hook")
            return
        tally.doubts.append("two runs on one table with the same answers differ: randomness outside the hook, nothing can be compared")


def _written_down(outcome: Outcome) -> bool:
    """Whether the run's own transcript lists the releases that the hook saw, in their order; the outcome of a selection is extra."""
    seen = [dict(call.event) for call in outcome.calls if call.kind in RELEASES]
    listed = [
        {key: value for key, value in event.items() if key != "selected"}
        for event in outcome.written or ()
        if event.get("kind") in RELEASES
    ]
    return [json.dumps(event, sort_keys=True) for event in seen] == [json.dumps(event, sort_keys=True) for event in listed]


def _same_run(one: Outcome, other: Outcome) -> bool:
    if one.error != other.error or len(one.calls) != len(other.calls) or one.artefacts != other.artefacts:
        return False
    return all(
        a.event == b.event and a.exact.shape == b.exact.shape and bool(np.array_equal(a.exact, b.exact, equal_nan=_is_float(a)))
        for a, b in zip(one.calls, other.calls, strict=True)
    )


def _is_float(call: Call) -> bool:
    return call.exact.dtype.kind == "f"


def _compare(label: str, recorded: Outcome, replayed: Outcome, neighbour: _Neighbour, tally: _Tally) -> None:
    for ours, theirs in zip(recorded.calls, replayed.calls, strict=False):
        _compare_call(label, ours, theirs, neighbour.units, tally)
    if replayed.error != recorded.error:
        one = replayed.error or recorded.error
        same_type = replayed.error is not None and recorded.error is not None and replayed.error[0] == recorded.error[0]
        check = "both sides raise, with different messages" if same_type else f"only one side raises ({'' if one is None else one[0]})"
        tally.fail(label, _last_stage(replayed.calls), check)
    elif len(replayed.calls) != len(recorded.calls):
        extra = len(replayed.calls) > len(recorded.calls)
        tally.fail(
            label,
            _last_stage(replayed.calls),
            "more releases than on the other side" if extra else "fewer releases than on the other side",
        )
    elif replayed.diverged:
        pass  # The call that stopped the replay has been reported above.
    elif neighbour.whole and replayed.artefacts != recorded.artefacts:
        tally.fail(label, "artefacts", f"{_differing(recorded, replayed)} differ although every answer was the same")
    if neighbour.whole and replayed.warnings != recorded.warnings and replayed.error is None and not replayed.diverged:
        tally.notes.add("warnings differ between neighbours (they are no part of the release; keep them off its logs)")


def _compare_call(label: str, ours: Call, theirs: Call, units: float, tally: _Tally) -> None:
    stage = ours.stage
    for key in sorted(set(ours.event) | set(theirs.event)):
        if ours.event.get(key) != theirs.event.get(key):
            tally.fail(label, stage, f"the event's {key} depends on the records")
    if ours.kind == THRESHOLD and theirs.kind == THRESHOLD:
        distances: Sequence[tuple[float | None, float]] = _distances(ours, theirs)
    elif ours.exact.shape != theirs.exact.shape:
        tally.fail(label, stage, "the shape of the exact answer depends on the records")
        return
    else:
        if ours.exact.dtype != theirs.exact.dtype:
            tally.fail(label, stage, "the dtype of the exact answer depends on the records")
        distances = [_distance(ours, theirs)]
    for declared, distance in distances:
        _compare_distance(label, stage, declared, distance, units, tally)


def _compare_distance(label: str, stage: str, declared: float | None, distance: float, units: float, tally: _Tally) -> None:
    if declared is None:
        if distance > 0.0:
            tally.fail(label, stage, "an answer that is said to need no sensitivity depends on the records")
        return
    tally.moved = tally.moved or distance > 0.0
    ratio = distance / declared if declared > 0.0 else (math.inf if distance > 0.0 else 0.0)
    if math.isinf(units):
        if not math.isfinite(distance):
            tally.fail(label, stage, "an exact answer is not a finite number")
        return
    tally.reach[stage] = max(tally.reach.get(stage, 0.0), ratio / units)
    if not ratio <= units * (1.0 + _TOLERANCE):
        tally.fail(label, stage, f"the exact answer moves by {ratio / units:.3g} times the declared sensitivity")


def _distances(ours: Call, theirs: Call) -> list[tuple[float, float]]:
    """Of two tables' values and counts: how many counts differ, by how much at most, and their L2 distance; each after what is declared."""
    left, right = ours.observed, theirs.observed
    gaps = [abs(left.get(value, 0) - right.get(value, 0)) for value in {*left, *right}]
    found = (sum(gap > 0 for gap in gaps), max(gaps, default=0), math.sqrt(sum(gap * gap for gap in gaps)))
    keys = ("l0_sensitivity", "linf_sensitivity", "l2_sensitivity")
    return [(float(ours.event.get(key, 0.0)), float(distance)) for key, distance in zip(keys, found, strict=True)]


def _distance(ours: Call, theirs: Call) -> tuple[float | None, float]:
    """Declared sensitivity and observed distance: L2 for Gaussian noise, largest score change for a selection."""
    if not ours.exact.size:
        return None, 0.0
    gap = theirs.exact.astype(np.float64) - ours.exact.astype(np.float64)
    if not np.isfinite(gap).all():
        gap = np.array([math.inf])
    if ours.kind == "gaussian":
        return float(ours.event.get("l2_sensitivity", 0.0)), float(np.sqrt((gap**2).sum()))
    if ours.kind == "exponential":
        return float(ours.event.get("score_sensitivity", 0.0)), float(np.abs(gap).max())
    return None, float(np.abs(gap).max())


def _last_stage(calls: Sequence[Call]) -> str:
    return calls[-1].stage if calls else "before the first release"


def _differing(one: Outcome, other: Outcome) -> str:
    left, right = one.artefacts or {}, other.artefacts or {}
    return ", ".join(sorted(name for name in set(left) | set(right) if left.get(name) != right.get(name))) or "artefacts"


# --- tables


def _bases(mechanism: Mechanism, tier: str, seed: int) -> Iterator[_Base]:
    """Tables to record on with their neighbours, ordinary first."""
    claim = mechanism.claim
    toy = Toy(tuple(mechanism.columns), mechanism.unit_field, claim.max_rows if mechanism.unit_field is not None else 1)
    crowd = toy.units(_UNITS[tier], seed)
    ordinary = toy.frame(crowd)
    weird = _weird_units(toy, toys.SMOKE_KINDS if tier == "smoke" else toys.KINDS, tier, crowd)
    replace_only = claim.neighbours == "replace_one"
    # Under add/remove a replaced unit is two steps away; under replace-one it is one.
    step = 1.0 if replace_only else 2.0

    replaced = [
        _Neighbour(f"replace:{label}", toy.frame([*crowd[:at], unit, *crowd[at + 1 :]]), step, whole=replace_only)
        for (label, unit), at in zip(weird, _spread(len(weird), len(crowd)), strict=True)
    ]
    if replace_only:
        far = [
            _Neighbour("far:other_units", toy.frame(toy.units(len(crowd), seed + 1)), _FAR),
            _Neighbour("far:constant", toy.frame(toy.constant(len(crowd))), _FAR),
            _Neighbour("far:half_constant", toy.frame([*toy.constant(len(crowd) // 2), *crowd[len(crowd) // 2 :]]), _FAR),
            _Neighbour("far:all_null", toy.frame([(key, toys.unit_rows(toy, "all_null", 1, [])) for key, _ in crowd]), _FAR),
        ]
        yield _Base("ordinary", ordinary, [*far, *replaced])
    else:
        far = [
            _Neighbour("far:empty", toy.frame([]), _FAR),
            _Neighbour("far:one_row", toy.frame(toy.constant(1)), _FAR, whole=False),
            _Neighbour("far:constant", toy.frame(toy.constant(len(crowd))), _FAR),
            _Neighbour("far:twice_as_many_others", toy.frame(toy.units(2 * len(crowd), seed + 1)), _FAR, whole=False),
            _Neighbour("far:ten_times_as_many", toy.frame(toy.constant(10 * len(crowd))), _FAR),
        ]
        added = [
            _Neighbour(
                f"add:{label}",
                toy.frame([unit, *crowd] if i % 2 else [*crowd, unit]),
                1.0,
                whole=label.endswith(":1") and (tier != "smoke" or i < 9),
            )
            for i, (label, unit) in enumerate(weird)
        ]
        removed = [_Neighbour("remove:ordinary", toy.frame(crowd[1:]), 1.0)]
        yield _Base("ordinary", ordinary, [*far, *added, *removed, *(replaced if tier != "smoke" else replaced[::3])])
    yield from _crowded_bases(toy, crowd, weird, replace_only)
    yield _many_base(toy, claim.mu, crowd, replace_only)
    yield from _small_bases(toy, replace_only)
    if tier != "smoke" and any(column.kind == "ordered" for column in toy.columns):
        yield _text_base(Toy(toy.columns, toy.unit_field, toy.max_rows, as_text=True), crowd, replace_only)


Unit = tuple[str | None, list[toys.Row]]


def _weird_units(toy: Toy, kinds: Sequence[str], tier: str, crowd: Sequence[Unit]) -> list[tuple[str, Unit]]:
    """The unit that differs: every kind with one row, max_rows rows and, where rows have an owner, many rows.

    In the smoke tier each kind comes with one of these numbers, in turn.
    """
    like = crowd[len(crowd) // 2][1][0]
    counts = [1] if toy.unit_field is None else sorted({1, toy.max_rows, max(toys.MANY_ROWS, 2 * toy.max_rows)})
    out: list[tuple[str, Unit]] = []
    for i, kind in enumerate(kinds):
        for n_rows in counts if tier != "smoke" else [counts[i % len(counts)], *(counts[-1:] if i < 2 else ())]:
            out.append((f"{kind}:{n_rows}", ("newcomer", toys.unit_rows(toy, kind, n_rows, like))))
    if toy.unit_field is not None:
        # Rows without an owner: whoever they belong to, one person may have brought them all.
        for n_rows in counts[:1] + counts[-1:]:
            out.append((f"no_unit_key:{n_rows}", (None, toys.unit_rows(toy, toys.COPY, n_rows, like))))
    return out


def _spread(n: int, places: int) -> list[int]:
    return [(i * places) // max(n, 1) for i in range(n)]


def _crowded_bases(toy: Toy, crowd: Sequence[Unit], weird: Sequence[tuple[str, Unit]], replace_only: bool) -> Iterator[_Base]:
    """Recorded on a table that holds the odd units, replayed without one of them: the mirror image of adding."""
    small: list[tuple[str, Unit]] = [
        (label, (f"odd{i}", unit[1])) for i, (label, unit) in enumerate(weird) if len(unit[1]) <= toy.max_rows and unit[0] is not None
    ]
    everyone: list[Unit] = [*crowd, *(unit for _, unit in small)]
    neighbours = []
    for i, (label, unit) in enumerate(small):
        others = [u for u in everyone if u is not unit]
        back: list[Unit] = [(unit[0], crowd[i % len(crowd)][1])] if replace_only else []
        table = toy.frame([*others, *back])
        neighbours.append(_Neighbour(f"{'replace_back' if replace_only else 'remove'}:{label}", table, 1.0, whole=i < 1))
    yield _Base("crowded", toy.frame(everyone), neighbours)
    many = [(label, unit) for label, unit in weird if len(unit[1]) > toy.max_rows and label.startswith(toys.COPY)]
    for label, unit in many:
        copy: list[Unit] = [("newcomer", crowd[0][1])] if replace_only else []
        table = toy.frame([*crowd, *copy])
        verb = "replace_back" if replace_only else "remove"
        yield _Base(f"crowded_by_{label}", toy.frame([*crowd, unit]), [_Neighbour(f"{verb}:{label}", table, 1.0)])


def _many_base(toy: Toy, mu: float, crowd: Sequence[Unit], replace_only: bool) -> _Base:
    """So many units that noise is small beside them: mechanisms go other ways there than on the few of the other tables."""
    n_units = min(_MOST_MANY, max(10 * len(crowd), math.ceil(_SIGNAL * toy.max_rows / max(mu, 1e-9))))
    many = toy.agreeing(n_units)
    odd: list[tuple[str, Unit]] = [
        ("opposite", ("newcomer", toys.unit_rows(toy, "opposite", toy.max_rows, []))),
        ("in_domain", ("newcomer", toys.unit_rows(toy, "in_domain", 1, []))),
    ]
    if replace_only:
        return _Base("many", toy.frame(many), [_Neighbour(f"replace:{label}", toy.frame([unit, *many[1:]]), 1.0) for label, unit in odd])
    return _Base("many", toy.frame(many), [_Neighbour(f"add:{label}", toy.frame([*many, unit]), 1.0) for label, unit in odd])


def _small_bases(toy: Toy, replace_only: bool) -> Iterator[_Base]:
    """Empty table, one row, constant columns: each with one unit more or exchanged."""
    lone: list[Unit] = toy.constant(1)
    other: Unit = ("newcomer", [[toys.inside(column, 1.0) for column in toy.columns] for _ in range(toy.max_rows)])
    constant: list[Unit] = toy.constant(30)
    if replace_only:
        yield _Base("one_row", toy.frame(lone), [_Neighbour("replace:opposite", toy.frame([other]), 1.0)])
        yield _Base("constant", toy.frame(constant), [_Neighbour("replace:opposite", toy.frame([*constant[1:], other]), 1.0)])
        return
    yield _Base("empty", toy.frame([]), [_Neighbour("add:first_row", toy.frame(lone), 1.0)])
    yield _Base("one_row", toy.frame(lone), [_Neighbour("remove:only_row", toy.frame([]), 1.0)])
    yield _Base("constant", toy.frame(constant), [_Neighbour("add:opposite", toy.frame([*constant, other]), 1.0)])


def _text_base(toy: Toy, crowd: Sequence[Unit], replace_only: bool) -> _Base:
    """Numbers that arrive as text, and one unit whose numbers do not parse. Text may be refused, for all alike."""
    like = crowd[0][1][0]
    neighbours = []
    for i, text in enumerate(toys.TEXTS):
        unit: Unit = ("newcomer", toys.text_rows(toy, text, 1, like))
        table = toy.frame([*crowd[1:], unit] if replace_only else [*crowd, unit])
        neighbours.append(_Neighbour(f"unparsable_{i}", table, 1.0, whole=i < 2))
    return _Base("numbers_as_text", toy.frame(crowd), neighbours, must_run=False)


# --- answer


def _result(mechanism: Mechanism | None, tally: _Tally, verdict: Verdict, reason: str, started: float) -> AuditResult:
    reach = {stage: ratio for stage, ratio in tally.reach.items() if ratio > 0.0}
    value = max(reach.values(), default=None)
    finite = None if value is None or not math.isfinite(value) else value
    return AuditResult(
        name=NAME,
        verdict=verdict,
        value=finite,
        interval=(finite, None),
        confidence=1.0,
        n=tally.pairs,
        detectable=None if not reach or verdict is Verdict.INCONCLUSIVE else max(1.0, 1.0 / min(reach.values())),
        detectable_unit="factor by which the sensitivity of the least exercised stage is understated",
        claim_digest=None if mechanism is None else mechanism.claim.digest,
        seconds=time.perf_counter() - started,
        reason=reason,
        details={
            "mechanism": None if mechanism is None else mechanism.name,
            "failures": tally.failures[:_SHOWN],
            "n_failures": len(tally.failures),
            "releases": tally.releases,
            "reach_by_stage": dict(sorted(tally.reach.items())),
            "stages_never_moved": sorted(stage for stage, ratio in tally.reach.items() if ratio == 0.0),
            "notes": sorted(tally.notes),
            "doubts": tally.doubts,
        },
    )
