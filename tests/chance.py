"""Chance in tests: audits of correct mechanisms, whose alarms have a level, and kernels whose noise is to be the same in every run.

The whole suite shall fail by chance less than once in 200 runs, so one test may do so about once in a million.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from audits import AuditResult, Verdict
from dpsynth import pipeline
from dpsynth.cli import sample
from dpsynth.privacy import noise, private_data

CHANCE = 1e-6
"""How often a test may fail although nothing is wrong."""

_TABLE_UP_TO = 1000.0


def runs_for(alpha: float) -> int:
    """How many independent runs are all alarms with a chance of at most `CHANCE`, when one is with ``alpha``: 3 at 0.01, 4 at 0.02."""
    return math.ceil(math.log(CHANCE) / math.log(alpha) - 1e-9)


def not_falsified(audit: Callable[[], AuditResult], alpha: float = 0.01) -> AuditResult:
    """The answer of ``audit`` on a correct mechanism, which must be NOT_FALSIFIED.

    An audit of level ``alpha`` alarms on a correct mechanism with a chance of up to ``alpha``. So what is asserted is that not all of
    `runs_for` (``alpha``) independent runs are alarms: that fails with a chance of at most alpha^runs <= 1e-6. A mechanism with a
    defect that the audit finds with power b passes with 1 - b^runs, so this is for correct mechanisms only: never use it to say that a
    defect is found. ``audit`` must draw its noise afresh each time.

    Only a verdict that rests on a p-value or an e-value is asked for again. A contradiction without one, an INCONCLUSIVE answer and an
    exception are no matter of chance, and fail at once.
    """
    return none_falsified(lambda: [audit()], alpha)[0]


def none_falsified(suite: Callable[[], Sequence[AuditResult]], alpha: float = 0.01) -> Sequence[AuditResult]:
    """The same of a suite that holds its alarms to ``alpha`` together: one answer that is no matter of chance fails at once."""
    run, against = 0, True
    while run < runs_for(alpha) and against:
        run, results = run + 1, suite()
        against = [result for result in results if result.verdict is not Verdict.NOT_FALSIFIED]
        if not all(result.verdict is Verdict.VIOLATION and (result.p_value, result.e_value) != (None, None) for result in against):
            break
    assert results and not against, "; ".join(f"{r.name}, run {run}: {r.verdict}, {r.reason}" for r in against) or "no audit answered"
    return results


@contextmanager
def kernel_noise(seed: int) -> Iterator[None]:
    """Inside, the kernel draws its noise and its coins from a generator with this ``seed``, where no hook can be passed.

    The law is the same, so are the privacy maps and every other step; only OpenDP's sampler and the system's entropy are not used. Good
    for a statement about a whole release: what it says with one seed, it says in every run.
    """
    rng = np.random.default_rng(seed)

    def gaussian(stddev: float) -> _Seeded:
        return _Seeded(
            real_gaussian(stddev), lambda exact: (np.asarray(exact, dtype=np.int64) + _discrete(rng, stddev, len(exact))).tolist()
        )

    def noisy_max(scale: float) -> _Seeded:
        return _Seeded(real_max(scale), lambda scores: int(np.argmax(np.asarray(scores) / scale + rng.gumbel(size=len(scores)))))

    real_gaussian, real_max = noise._gaussian, noise._noisy_max
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "_gaussian", gaussian)
        patch.setattr(noise, "_noisy_max", noisy_max)
        for reader in (private_data, pipeline, sample):
            patch.setattr(reader, "secrets", _Coins(rng))
        yield


class _Seeded:
    """One of OpenDP's measurements with another source of chance."""

    def __init__(self, real: Any, draw: Callable[[Any], Any]) -> None:
        self.map = real.map
        self._draw = draw

    def __call__(self, exact: Any) -> Any:
        return self._draw(exact)


class _Coins:
    """Stands where the kernel looks for `secrets`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def randbits(self, bits: int) -> int:
        return int.from_bytes(self._rng.bytes(bits // 8), "big")


def _discrete(rng: np.random.Generator, stddev: float, cells: int) -> npt.NDArray[np.int64]:
    """Discrete Gaussians: by their distribution function where rounding a normal draw would be another law, else by rounding."""
    if stddev > _TABLE_UP_TO:
        return np.rint(rng.normal(0.0, stddev, cells)).astype(np.int64)
    reach, below = _distribution(stddev)
    return np.searchsorted(below, rng.random(cells), side="right").astype(np.int64) - reach


@cache
def _distribution(stddev: float) -> tuple[int, npt.NDArray[np.float64]]:
    """The largest value that is drawn, and the distribution function from its negative on."""
    reach = math.ceil(9.0 * stddev) + 1
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2.0 * stddev**2))
    return reach, np.cumsum(weights / weights.sum())[:-1]
