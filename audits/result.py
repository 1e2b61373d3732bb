"""The types every audit speaks: what was claimed, what an audit is given, what it answers.

An audit can falsify a privacy claim and never certify one, hence three verdicts and no "passed".
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


class AuditError(ValueError):
    """An audit was asked for with unusable arguments."""


class Verdict(StrEnum):
    """Outcome of one audit."""

    VIOLATION = "VIOLATION"
    NOT_FALSIFIED = "NOT_FALSIFIED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Claim:
    """The privacy guarantee under test.

    ``rho`` is zCDP, ``epsilon`` and ``delta`` the converted guarantee, ``neighbours`` is ``add_remove`` or ``replace_one``,
    one ``unit`` contributes at most ``max_rows`` rows. ``threshold_delta`` is the part of ``delta`` that is paid for values found in the
    records: ``rho`` holds but for events of that probability.
    """

    unit: str
    max_rows: int
    neighbours: str
    rho: float
    epsilon: float
    delta: float
    threshold_delta: float = 0.0

    @property
    def mu(self) -> float:
        """Gaussian-DP parameter of one Gaussian mechanism with the same ``rho``: sqrt(2 rho)."""
        return math.sqrt(2.0 * self.rho)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of the claim, stamped into every result."""
        return hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The claim as plain JSON, with its digest."""
        return {**self._facts(), "digest": self.digest}

    def _facts(self) -> dict[str, Any]:
        """A claim without a threshold has the digest it had before there were any."""
        return {key: value for key, value in asdict(self).items() if value or key != "threshold_delta"}


@dataclass(frozen=True)
class Column:
    """What an audit may know of a column: public facts only.

    ``kind`` is ``categorical`` or ``ordered``; ``role`` one of identifier, quasi, sensitive, target, other; ``group`` marks fairness
    groups.
    ``categories`` (categorical) or ``minimum``/``maximum`` (ordered) are the declared domain where there is one.
    """

    name: str
    kind: str
    role: str = "other"
    group: bool = False
    nullable: bool = False
    categories: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class AuditResult:
    """Answer of one audit.

    ``interval`` is the two-sided ``confidence`` interval of ``value``; ``n`` the number of attacks or cells; ``detectable`` the smallest
    violation this audit would have caught with 80 % power, ``detectable_unit`` says in what it is measured.
    """

    name: str
    verdict: Verdict
    value: float | None
    interval: tuple[float | None, float | None]
    confidence: float
    n: int
    detectable: float | None
    detectable_unit: str
    claim_digest: str | None
    seconds: float
    reason: str
    p_value: float | None = None
    e_value: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; numbers that are not finite become null."""
        out = asdict(self)
        out["verdict"] = str(self.verdict)
        return _finite(out)  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AuditResult:
        """The inverse of `to_dict`, up to numbers that are not finite."""
        low, high = data["interval"]
        return cls(**{**data, "verdict": Verdict(data["verdict"]), "interval": (low, high)})


class Hook(Protocol):
    """The kernel's single observation point: see ``Recorder`` and ``Replayer``."""

    def __call__(self, event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any: ...


class Mechanism(Protocol):
    """A synthesizer as the code audits see it: run on a table of worst-case *toy* rows, all its releases visible through ``hook``.

    Calling it returns the artefacts as named bytes (the saved model, sampled rows with a fixed seed). One that is
    called ``transcript`` is the run's own account, as JSON, and must list what the hook saw.
    ``columns`` is the public dictionary of the toy table, ``unit_field`` the column that names the unit (or None).
    A mechanism that also has ``deterministic = True`` promises that everything random passes the hook: with the same
    answers two runs make the same bytes.
    """

    @property
    def name(self) -> str:
        """What findings call it."""

    @property
    def columns(self) -> Sequence[Column]: ...

    @property
    def unit_field(self) -> str | None: ...

    @property
    def claim(self) -> Claim:
        """The promise that audits try to refute."""

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]: ...


@dataclass(frozen=True)
class AuditInput:
    """Everything an audit may look at; each audit says INCONCLUSIVE when what it needs is missing.

    ``train``/``control`` rows belong to units ``train_units``/``control_units`` (integers, aligned with the rows; None = a row is a unit).
    ``members`` and ``nonmembers`` are the coin-flip cohort: unit ids in ``train_units`` that entered the cohort and stayed, and the ids in
    ``control_units`` (all of ``control``) that were left out by a fair coin. ``synthetic`` is the table about to be released. The repr
    holds no table, so that no traceback shows records. Where ``train`` is a sample (all rows of ``members``, and of units drawn without a
    look at anything), ``trained`` is the number of rows of the table that it was drawn from.
    """

    synthetic: pd.DataFrame = field(repr=False)
    columns: tuple[Column, ...]
    train: pd.DataFrame | None = field(default=None, repr=False)
    control: pd.DataFrame | None = field(default=None, repr=False)
    train_units: npt.NDArray[np.int64] | None = field(default=None, repr=False)
    control_units: npt.NDArray[np.int64] | None = field(default=None, repr=False)
    members: npt.NDArray[np.int64] | None = field(default=None, repr=False)
    transcript: Mapping[str, Any] | None = None
    claim: Claim | None = None
    mechanism: Mechanism | None = None
    tier: str = "standard"
    alpha: float = 0.01
    seed: int = 0
    tests: int = 1
    """Audits that share ``alpha`` by Holm's procedure: the first must reach ``alpha / tests``, which is what ``detectable`` is about."""
    trained: int | None = None

    @property
    def first_alpha(self) -> float:
        """The level at which a violation stands whatever the other audits found."""
        return self.alpha / max(1, self.tests)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
