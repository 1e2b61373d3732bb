"""anonymeter (an extra) as a second opinion, with guards for what its release 1.1.0 gets wrong.

Tables of equal size without repeats, so that its size correction never runs; values replaced by tokens, so that no
quote or sign reaches it and no value can reach a log; generated predicates as the denominator; our own baseline, as
its naive one is always wrong.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from audits.attribute_inference import secrets_and_known
from audits.bounds import rate_exceeds
from audits.linkability import column_halves
from audits.result import AuditInput, AuditResult
from audits.tables import MIN_UNITS, Prepared, fingerprints, prepare
from audits.verdicts import allowed, answer, inconclusive

if TYPE_CHECKING:
    import pandas as pd

ATTACKS = {"smoke": 500, "standard": 1000, "deep": 2000}
MIN_ATTACKS = 100
_MAX_SYNTHETIC = 10_000
_MAX_ATTEMPTS = 30_000
_MAX_SECRETS = 3


def installed() -> bool:
    """Whether the extra is there; nothing is imported."""
    return importlib.util.find_spec("anonymeter") is not None


def anonymeter_singling_out(data: AuditInput) -> AuditResult:
    """anonymeter's multivariate singling-out risk, per predicate it generated."""
    return _guarded("anonymeter_singling_out", data, _singling_out)


def anonymeter_linkability(data: AuditInput) -> AuditResult:
    """anonymeter's linkability risk between two halves of the columns."""
    return _guarded("anonymeter_linkability", data, _linkability)


def anonymeter_inference(data: AuditInput) -> AuditResult:
    """anonymeter's inference risk, the largest over the secrets."""
    return _guarded("anonymeter_inference", data, _inference)


class _TooFew(Exception):
    """The evaluator could not make enough attacks; the message holds counts only."""


def _guarded(name: str, data: AuditInput, evaluate: Callable[[Prepared, int], dict[str, Any]]) -> AuditResult:
    started = time.perf_counter()
    if not installed():
        return inconclusive(name, data, started, "anonymeter extra not installed")
    prepared = prepare(data)
    if prepared.unusable:
        return inconclusive(name, data, started, prepared.unusable)
    seed = int(prepared.rng(name).integers(2**31))
    try:
        with _contained(seed):
            found = evaluate(prepared, seed)
    except _TooFew as error:
        return inconclusive(name, data, started, str(error))
    value, interval, p_value = found.pop("value"), found.pop("interval"), found.pop("p_value")
    if found["baseline_beats_attack"]:
        reason = "guessing without the release does better than the attack"
        return inconclusive(name, data, started, reason, n=found["attacks"], details=found)
    return answer(
        name, data, started, value=value, interval=interval, n=found["attacks"], p_value=p_value,
        detectable=found["half_width"], unit="a risk",
        violated=f"members are attacked more successfully than {allowed(data)}",
        details=found,
    )  # fmt: skip


@contextmanager
def _contained(seed: int) -> Iterator[None]:
    """anonymeter samples from NumPy's global generator, warns and logs freely; seed, silence and put everything
    back."""
    state = np.random.get_state()
    logger = logging.getLogger("anonymeter")
    level = logger.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.setLevel(logging.CRITICAL)
            np.random.seed(seed % 2**32)
            yield
    finally:
        logger.setLevel(level)
        np.random.set_state(state)


def _tables(prepared: Prepared, *, distinct: bool, ordered_as_numbers: bool) -> tuple[pd.DataFrame, ...]:
    """Members, as many strangers, and synthetic rows, as tokens (categorical) and ranks (ordered, missing below all).

    With ``distinct`` each table is rid of repeated rows first, as the evaluator does it after the sizes were made
    equal.
    """
    import pandas as pd

    rng = prepared.rng("anonymeter")
    game = prepared.game
    sides = [game.rows[game.member[game.owner] == side] for side in (True, False)]
    codes = [prepared.real.fine[rows] for rows in sides]
    synth = prepared.synth.fine
    if distinct:
        codes = [table[np.unique(fingerprints(table), return_index=True)[1]] for table in codes]
    size = min(map(len, codes))
    codes = [table[np.sort(rng.permutation(len(table))[:size])] for table in codes]
    # Predicates that fit one record of a much larger table fit none of a small one, less often even than random ones.
    limit = max(size, 1000) if distinct else _MAX_SYNTHETIC
    codes.append(synth[np.sort(rng.permutation(len(synth))[: min(limit, _MAX_SYNTHETIC)])])
    return tuple(
        pd.DataFrame({
            f"c{j}": table[:, j].astype(np.float64)
            if prepared.ordered[j] and ordered_as_numbers
            else np.char.add("v", table[:, j].astype(str)).astype(object)
            for j in range(len(prepared.names))
        })
        for table in codes
    )  # fmt: skip


def _summary(prepared: Prepared, results: Any, *, per_unit: bool, **details: Any) -> dict[str, Any]:
    """What anonymeter found, in its own terms. Where an attack is on one row of one unit, the claim caps its
    success."""
    from anonymeter.stats.confidence import success_rate

    risk = results.risk()
    n1, n0, k1, k0 = (int(x) for x in (results.n_attacks_ori, results.n_attacks_control, results.n_success, results.n_control))
    out = {
        "value": float(risk.value),
        "interval": (float(risk.ci[0]), float(risk.ci[1])),
        "p_value": rate_exceeds(k1, n1, k0, n0, prepared.caps.tpr) if per_unit else None,
        "attacks": n1,
        "on_members": k1 / n1,
        "on_strangers": k0 / n0,
        "half_width": max(float(risk.ci[1] - risk.value), 1.0 / n1),
        **details,
    }
    # Its 95 % intervals of the two rates, apart: a baseline that is ahead by luck alone is no reason to distrust the
    # attack.
    baseline = success_rate(n1, int(details["baseline"] * n1), 0.95)
    out["baseline_beats_attack"] = bool(baseline.value - baseline.error > results.attack_rate.value + results.attack_rate.error)
    return out


def _one_row_each(prepared: Prepared) -> bool:
    return len(prepared.game.rows) == len(prepared.game.member)


def _singling_out(prepared: Prepared, seed: int) -> dict[str, Any]:
    from anonymeter.evaluators.singling_out_evaluator import SinglingOutEvaluator
    from anonymeter.stats.confidence import EvaluationResults

    members, strangers, synth = _tables(prepared, distinct=True, ordered_as_numbers=True)
    if len(members) < MIN_UNITS:
        raise _TooFew(f"{len(members)} distinct records on a side; needs {MIN_UNITS}")
    wanted = ATTACKS[prepared.tier]
    shortage: list[int] = []
    handler = _Shortage(shortage)
    logger = logging.getLogger("anonymeter.evaluators.singling_out_evaluator")
    logger.addHandler(handler)
    level, propagate = logger.level, logger.propagate
    try:
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        evaluator = SinglingOutEvaluator(
            ori=members, syn=synth, control=strangers, n_attacks=wanted, n_cols=_width(members.shape[1]),
            max_attempts=_MAX_ATTEMPTS, seed=seed,
        ).evaluate(mode="multivariate")  # fmt: skip
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
    generated = min([wanted, *shortage])
    if generated < MIN_ATTACKS:
        raise _TooFew(f"{generated} predicates generated; needs {MIN_ATTACKS}")
    raw = evaluator.results()
    results = EvaluationResults(
        n_attacks=(generated, wanted, generated),
        n_success=raw.n_success,
        n_baseline=raw.n_baseline,
        n_control=raw.n_control,
    )
    return _summary(
        prepared,
        results,
        per_unit=False,
        generated=generated,
        baseline=raw.n_baseline / wanted,
        share_of_train=prepared.game.share,
    )


class _Shortage(logging.Handler):
    """Reads how many predicates came out when they were fewer than asked for: the evaluator tells nobody but its
    log."""

    def __init__(self, counts: list[int]) -> None:
        super().__init__(logging.WARNING)
        self._counts = counts

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"only (\d+) singling out queries", record.getMessage())
        if found:
            self._counts.append(int(found[1]))


def _width(d: int) -> int:
    return min(d, 3 if d <= 6 else 5)


def _linkability(prepared: Prepared, seed: int) -> dict[str, Any]:
    from anonymeter.evaluators import LinkabilityEvaluator

    if len(prepared.names) < 2:
        raise _TooFew("one column cannot be split into two halves")
    members, strangers, synth = _tables(prepared, distinct=False, ordered_as_numbers=True)
    halves = tuple([f"c{j}" for j in half] for half in column_halves(prepared))
    attacks = min(ATTACKS[prepared.tier], len(members))
    evaluator = LinkabilityEvaluator(ori=members, syn=synth, control=strangers, aux_cols=halves, n_attacks=attacks, n_neighbors=1).evaluate(
        n_jobs=2
    )
    results = evaluator.results()
    return _summary(prepared, results, per_unit=_one_row_each(prepared), baseline=results.n_baseline / attacks)


def _inference(prepared: Prepared, seed: int) -> dict[str, Any]:
    from anonymeter.evaluators import InferenceEvaluator

    if len(prepared.names) < 2:
        raise _TooFew("one column leaves nothing to infer from")
    secrets, known = secrets_and_known(prepared)
    members, strangers, synth = _tables(prepared, distinct=False, ordered_as_numbers=True)
    # Classes as tokens: its regression mode calls every negative guess right.
    attacks = min(ATTACKS[prepared.tier], len(members))
    per_secret: dict[str, dict[str, Any]] = {}
    for j in secrets[:_MAX_SECRETS]:
        name = f"c{j}"
        tables = _with_classes(prepared, j, (members, strangers, synth))
        evaluator = InferenceEvaluator(
            ori=tables[0], syn=tables[2], control=tables[1], aux_cols=[f"c{k}" for k in known], secret=name,
            regression=False, n_attacks=attacks,
        ).evaluate(n_jobs=2)  # fmt: skip
        common = tables[2][name].mode().iloc[0]
        naive = float((tables[0][name] == common).mean())
        per_secret[prepared.names[j]] = _summary(prepared, evaluator.results(), per_unit=_one_row_each(prepared), baseline=naive)
    left_out = [prepared.names[j] for j in secrets[_MAX_SECRETS:]]
    return {**_largest(per_secret), "not_attacked": left_out}


def _largest(per_secret: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The largest risk over secrets whose attack beat its baseline (all of them, if none did), Bonferroni's p-value
    over them."""
    usable = {k: v for k, v in per_secret.items() if not v["baseline_beats_attack"]} or per_secret
    worst = max(usable.values(), key=lambda found: found["value"])
    p_values = [found["p_value"] for found in usable.values() if found["p_value"] is not None]
    return {
        **worst,
        "interval": (worst["interval"][0], max(found["interval"][1] for found in usable.values())),
        "p_value": min(1.0, len(p_values) * min(p_values)) if p_values else None,
        "secrets": {name: {k: v for k, v in found.items() if k != "p_value"} for name, found in per_secret.items()},
    }


def _with_classes(prepared: Prepared, j: int, tables: tuple[pd.DataFrame, ...]) -> list[pd.DataFrame]:
    """The tables with column ``j`` as tokens of at most ten classes of equal synthetic mass."""
    name = f"c{j}"
    if not prepared.ordered[j]:
        return list(tables)
    edges = np.unique(np.quantile(tables[2][name], np.arange(1, 10) / 10, method="lower"))
    return [
        table.assign(**{name: np.char.add("v", np.searchsorted(edges, table[name], "right").astype(str)).astype(object)})
        for table in tables
    ]
