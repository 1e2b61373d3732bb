"""Run the audits and settle the verdict of the whole: nothing that is missing, crashed or underpowered counts as
passed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from audits.result import AuditError, AuditInput, AuditResult, Claim, Column, Mechanism, Verdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

_WITHOUT_P_VALUE = ("recomposition", "record_replay", "noise_eprocess", "direct_identifiers")

Progress = Callable[[str, int, int], None]
"""Called before each audit with its name, how many are done, and how many there are."""


@dataclass(frozen=True)
class SuiteResult:
    """The answers of all audits asked for. ``alpha`` bounds the chance that a correct release is called a violation."""

    verdict: Verdict
    results: Mapping[str, AuditResult]
    tier: str
    alpha: float
    claim: Claim | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, as evidence holds it."""
        return {
            "tier": self.tier,
            "alpha": self.alpha,
            "verdict": str(self.verdict),
            "requested": list(self.results),
            "results": {name: result.to_dict() for name, result in self.results.items()},
            "claim": self.claim.to_dict() if self.claim else None,
        }


def run(
    *,
    synthetic: pd.DataFrame,
    train: pd.DataFrame | None = None,
    control: pd.DataFrame | None = None,
    columns: Sequence[Column] | None = None,
    train_units: npt.NDArray[np.int64] | None = None,
    control_units: npt.NDArray[np.int64] | None = None,
    members: npt.NDArray[np.int64] | None = None,
    transcript: Mapping[str, Any] | None = None,
    claim: Claim | None = None,
    mechanism: Mechanism | None = None,
    tier: str = "standard",
    seed: int = 0,
    alpha: float = 0.01,
    names: Iterable[str] | None = None,
    known: Mapping[str, AuditResult] | None = None,
    trained: int | None = None,
    progress: Progress | None = None,
) -> SuiteResult:
    """Audit a synthetic table, anybody's.

    ``names`` defaults to every audit of the tier whose needs are met; an audit asked for by name runs, or says
    INCONCLUSIVE. Give ``members`` (ids in ``train_units``) only if every cohort unit was left out of training by its
    own fair coin, ``control`` then being exactly those left out. Without a ``claim`` members are compared with
    strangers, and any excess is a violation. ``known`` holds answers of `audit_mechanism` for this ``mechanism``, which
    are taken as they are. ``trained`` says how many rows were trained on, where ``train`` is a sample of them. Not
    differentially private: the answers are functions of real records.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"age": [30, 41, 52], "smoker": ["yes", "no", "no"]})
    >>> str(run(synthetic=table).verdict)
    'NOT_FALSIFIED'
    """
    from audits.registry import AUDITS, TIERS
    from audits.tables import infer_columns, prepare

    if tier not in TIERS:
        raise AuditError(f"tier={tier!r} must be one of {', '.join(TIERS)}")
    if not 0 < alpha < 1:
        raise AuditError(f"alpha={alpha} must be between 0 and 1")
    tables = {"train": train, "control": control, "synthetic": synthetic}
    frames = {label: _frame(table, label) for label, table in tables.items() if table is not None}
    given = AuditInput(
        synthetic=frames["synthetic"],
        columns=tuple(columns) if columns is not None else infer_columns(frames),
        train=frames.get("train"),
        control=frames.get("control"),
        train_units=train_units,
        control_units=control_units,
        members=members,
        transcript=transcript,
        claim=claim,
        mechanism=mechanism,
        tier=tier,
        alpha=alpha / 2,
        seed=seed,
        trained=trained,
    )
    chosen = _default_names(given) if names is None else list(dict.fromkeys(names))
    unknown = [name for name in chosen if name not in AUDITS]
    if unknown:
        raise AuditError(f"unknown audit {unknown[0]!r}; there are {', '.join(AUDITS)}")
    data = prepare(replace(given, tests=sum(name not in _WITHOUT_P_VALUE for name in chosen)))
    return _run(chosen, data, alpha, known or {}, progress)


def audit_mechanism(
    mechanism: Mechanism,
    *,
    tier: str = "standard",
    seed: int = 0,
    alpha: float = 0.01,
    progress: Progress | None = None,
) -> SuiteResult:
    """The code audits of ``tier``: what needs a mechanism and nobody's records. The answers may be published."""
    import pandas as pd

    from audits.registry import AUDITS, TIERS

    if tier not in TIERS:
        raise AuditError(f"tier={tier!r} must be one of {', '.join(TIERS)}")
    if not 0 < alpha < 1:
        raise AuditError(f"alpha={alpha} must be between 0 and 1")
    data = AuditInput(
        pd.DataFrame(), tuple(mechanism.columns), claim=mechanism.claim, mechanism=mechanism, tier=tier, alpha=alpha / 2, seed=seed
    )
    return _run(
        [name for name, audit in AUDITS.items() if audit.needs == ("mechanism",) and tier in audit.tiers], data, alpha, {}, progress
    )


def _run(names: Sequence[str], data: AuditInput, alpha: float, known: Mapping[str, AuditResult], progress: Progress | None) -> SuiteResult:
    foreign = [name for name, result in known.items() if data.claim is None or result.claim_digest != data.claim.digest]
    if foreign:
        raise AuditError(f"the known answer of {foreign[0]} is about another claim")
    results: dict[str, AuditResult] = {}
    for done, name in enumerate(names):
        if progress is not None and name not in known:
            progress(name, done, len(names))
        results[name] = known[name] if name in known else _contained(name, data)
    results = _settle(results, alpha)
    return SuiteResult(overall(results.values()), results, data.tier, alpha, data.claim)


def _frame(table: Any, label: str) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(table, pd.DataFrame) and hasattr(table, "to_pandas"):
        table = table.to_pandas()
    if not isinstance(table, pd.DataFrame):
        raise AuditError(f"{label} must be a data frame, not {type(table).__name__}")
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise AuditError(f"column {str(repeated[0])!r} occurs twice in the {label} table")
    return table


def _default_names(data: AuditInput) -> list[str]:
    from audits.anonymeter_adapter import installed
    from audits.registry import AUDITS

    def met(need: str) -> bool:
        return installed() if need == "anonymeter" else getattr(data, need) is not None

    return [name for name, audit in AUDITS.items() if data.tier in audit.tiers and all(map(met, audit.needs))]


def _contained(name: str, data: AuditInput) -> AuditResult:
    from audits.registry import AUDITS
    from audits.verdicts import inconclusive

    started = time.perf_counter()
    try:
        return AUDITS[name].run(data)
    except Exception as error:
        # A crashed audit is an answer, and a policy refuses it. Its message may quote a record; its type cannot.
        return inconclusive(name, data, started, f"crashed: {type(error).__name__}")


def _settle(results: Mapping[str, AuditResult], alpha: float) -> dict[str, AuditResult]:
    """Hold the suite's false alarms to ``alpha``: half for the exact tests by Holm, half for the mean of the e-values.

    Every audit judged alone at ``alpha / 2``, so settling only takes violations back. The family is all audits asked
    for that test by p-value or could have, so a crash does not make the rest easier to reject. Deterministic
    contradictions have neither number and stand.
    """
    from audits.bounds import average_e_value, holm

    settled = dict(results)
    tested = {name: r for name, r in results.items() if r.p_value is not None}
    waiting = sum(r.p_value is None and r.e_value is None and r.verdict is Verdict.INCONCLUSIVE for r in results.values())
    rejected = holm([r.p_value for r in tested.values() if r.p_value is not None], alpha / 2, len(tested) + waiting)
    for (name, result), stands in zip(tested.items(), rejected, strict=True):
        if result.verdict is Verdict.VIOLATION and not stands:
            settled[name] = _withdrawn(result, f"p = {result.p_value:.2g} among {len(tested) + waiting} tests (Holm)")
    wagers = {name: r for name, r in results.items() if r.e_value is not None and r.p_value is None}
    if wagers:
        mean = average_e_value([float(r.e_value or 0.0) for r in wagers.values()])
        for name, result in wagers.items():
            if result.verdict is Verdict.VIOLATION and mean < 2 / alpha:
                settled[name] = _withdrawn(result, f"mean e-value {mean:.3g} of {len(wagers)}")
    return settled


def _withdrawn(result: AuditResult, why: str) -> AuditResult:
    power = result.detectable is not None
    verdict = Verdict.NOT_FALSIFIED if power else Verdict.INCONCLUSIVE
    return replace(result, verdict=verdict, reason=f"not significant for the whole suite: {why}")


def overall(results: Iterable[AuditResult]) -> Verdict:
    """The verdict of them all: a violation if there is one, else inconclusive if anything is, or if there is nothing."""
    verdicts = {result.verdict for result in results}
    for verdict in (Verdict.VIOLATION, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.NOT_FALSIFIED if verdicts else Verdict.INCONCLUSIVE
