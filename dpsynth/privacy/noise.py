"""The two noisy primitives, both OpenDP's exact samplers with OpenDP's own entropy. Nothing here takes a seed.

Each call asks OpenDP's privacy map what it costs and refuses to run if that is more than what was charged.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dpsynth.errors import BudgetError

# OpenDP rounds its maps towards more loss in the last float digit.
_ROUNDING = 1.0 + 1e-9


class Hook(Protocol):
    """Where an audit may stand: sees the event and the exact answer, decides what is returned. See ``PrivateData``."""

    def __call__(self, event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any: ...


def release_noise(event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
    """The hook of every real release: nobody looks, the noise is drawn."""
    return draw()


class SeededNoise:
    """Test mode only: rounded Gaussian or Gumbel noise from a seeded generator. Stamped on the transcript; every policy refuses it."""

    seeded = True

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
        if event["kind"] == "gaussian":
            return exact + np.rint(self._rng.normal(0.0, event["stddev"], exact.shape)).astype(np.int64)
        if event["kind"] == "exponential":
            return int(np.argmax(exact * (event["epsilon"] / (2.0 * event["score_sensitivity"])) + self._rng.gumbel(size=exact.shape)))
        if event["kind"] == "threshold":
            noisy = exact["count"] + np.rint(self._rng.normal(0.0, event["stddev"], exact.shape)).astype(np.int64)
            return {str(value): int(count) for value, count in zip(exact["value"], noisy, strict=True) if count >= event["threshold"]}
        return int(self._rng.integers(1 << 63))


def discrete_gaussian(exact: npt.NDArray[np.int64], stddev: float, sensitivity: float, rho: float) -> npt.NDArray[np.int64]:
    """``exact`` plus one independent discrete Gaussian of scale ``stddev`` per cell.

    For an integer vector with L2 sensitivity Delta this is Delta^2 / (2 sigma^2)-zCDP (Canonne, Kamath and Steinke 2020, Theorem 14).
    """
    if not exact.size:
        return exact.copy()
    measurement = _gaussian(stddev)
    cost = measurement.map(sensitivity)
    if not cost <= rho * _ROUNDING:
        raise BudgetError(f"OpenDP charges rho={cost:.6g} for stddev={stddev:.6g}, but only {rho:.6g} was spent")
    return np.asarray(measurement(exact.tolist()), dtype=np.int64)


def exponential_mechanism(scores: npt.NDArray[np.float64], epsilon: float, sensitivity: float, rho: float) -> int:
    """Index drawn with probability proportional to exp(epsilon * score / (2 * sensitivity)).

    Scores may move in opposite directions between neighbours, so the non-monotonic form is the right one: epsilon-bounded range,
    epsilon^2 / 8 zCDP (Cesar and Rogers 2021; Dong, Durfee and Rogers 2020).
    """
    measurement = _noisy_max(2.0 * sensitivity / epsilon)
    cost = measurement.map(sensitivity)
    if not cost <= rho * _ROUNDING:
        raise BudgetError(f"OpenDP charges rho={cost:.6g} for a selection, but only {rho:.6g} was spent")
    return int(measurement(scores.tolist()))


def gaussian_stddev(sensitivity: float, rho: float) -> float:
    """Noise scale at which an L2 ``sensitivity`` costs ``rho``, rounded up."""
    _check_rho(rho)
    return sensitivity / math.sqrt(2.0 * rho) * (1.0 + 1e-12)


def selection_epsilon(rho: float) -> float:
    """The exponential mechanism's parameter that costs ``rho`` = epsilon^2 / 8, rounded down."""
    _check_rho(rho)
    return math.sqrt(8.0 * rho) * (1.0 - 1e-12)


def _check_rho(rho: float) -> None:
    if not 0.0 < rho < math.inf:
        raise BudgetError(f"rho={rho!r} must be > 0 and finite; is the budget spent?")


@cache
def opendp_version() -> str:
    return importlib.metadata.version("opendp")


# A measurement holds a scale and no randomness: building one takes longer than most draws, and audits draw from one again and again.
@lru_cache(maxsize=256)
def _gaussian(stddev: float) -> Any:
    _enable()
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_gaussian
    from opendp.metrics import l2_distance

    return make_gaussian(vector_domain(atom_domain(T="i64")), l2_distance(T="f64"), scale=stddev)


@lru_cache(maxsize=256)
def _noisy_max(scale: float) -> Any:
    _enable()
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_noisy_max
    from opendp.measures import zero_concentrated_divergence
    from opendp.metrics import linf_distance

    domain = vector_domain(atom_domain(T="f64", nan=False))
    return make_noisy_max(domain, linf_distance(T="f64"), zero_concentrated_divergence(), scale=scale)


@cache
def _enable() -> None:
    """Imported piece by piece where noise is made: OpenDP's prelude brings in all of scikit-learn and Polars, a second's wait."""
    from opendp.mod import enable_features

    enable_features("contrib")
