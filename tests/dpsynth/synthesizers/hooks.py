"""What the kernel's tests share: hooks that record looks at the records or repeat frozen answers, tables, quick recipes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import CodedTable, Domain, code_dtype
from dpsynth.privacy.noise import SeededNoise
from dpsynth.synthesizers import SYNTHESIZERS, Aim, Synthesizer

# A mechanism that takes seconds by default is tested with fewer rounds; what it promises does not depend on their number.
_QUICK: dict[str, Synthesizer] = {"aim": Aim(degree=2, rounds_per_column=1, max_cells=20_000)}


def recipe(name: str) -> Synthesizer:
    """The synthesizer of this name, set up to be quick."""
    return _QUICK.get(name) or SYNTHESIZERS[name]()


@dataclass(frozen=True)
class Look:
    """One call of the hook."""

    event: dict[str, Any]
    exact: npt.NDArray[Any]
    answer: Any


@dataclass
class Recording:
    """Seeded noise, every look noted. The coins of contribution bounding and of the cohort are no ``releases``."""

    seed: int = 0
    looks: list[Look] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._noise = SeededNoise(self.seed)

    def __call__(self, event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
        answer = self._noise(event, exact, draw)
        self.looks.append(Look(copy.deepcopy(dict(event)), np.array(exact), copy.copy(answer)))
        return answer

    @property
    def releases(self) -> list[Look]:
        return [look for look in self.looks if look.event["kind"] != "coins"]


@dataclass
class Frozen:
    """The answers of an earlier run, whatever the records are; notes the exact answers of these records."""

    earlier: Sequence[Look]
    looks: list[Look] = field(default_factory=list)

    def __call__(self, event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
        answer = copy.copy(self.earlier[len(self.looks)].answer)
        self.looks.append(Look(copy.deepcopy(dict(event)), np.array(exact), answer))
        return answer

    @property
    def releases(self) -> list[Look]:
        return [look for look in self.looks if look.event["kind"] != "coins"]


def exact_answers(event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
    """A hook that adds no noise: what the mechanism would do if it knew."""
    if event["kind"] == "gaussian":
        return exact
    return int(np.argmax(exact)) if event["kind"] == "exponential" else 1


def real_noise(event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
    """OpenDP's noise under a hook that is not the release's own."""
    return draw()


def table_of(domain: Domain, rows: Sequence[Sequence[int]]) -> CodedTable:
    """A coded table from rows of codes."""
    cells = np.array(rows, dtype=np.int64).reshape(len(rows), len(domain))
    return CodedTable(domain, {a.name: cells[:, i].astype(code_dtype(a.size)) for i, a in enumerate(domain)})


def dependent_table(domain: Domain, rows: int, seed: int) -> CodedTable:
    """Columns that all follow one hidden number, each with some cells of its own."""
    rng = np.random.default_rng(seed)
    hidden = rng.random(rows) ** 2
    columns = {}
    for attribute in domain:
        own = np.where(rng.random(rows) < 0.3, rng.random(rows), hidden)
        codes = np.minimum((own * attribute.size).astype(np.int64), attribute.size - 1)
        columns[attribute.name] = codes.astype(code_dtype(attribute.size))
    return CodedTable(domain, columns)
