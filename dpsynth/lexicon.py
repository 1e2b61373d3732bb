"""The texts of columns whose categories nobody has listed, numbered as they come. As private as the cells they stand for.

Counting them is the same sum over batches as any other: a table in memory of each distinct text, and a code for each cell.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dpsynth.cells import canonical

LONGEST = 256
"""Longer texts, and those that cannot be printed, are never categories: they are counted with what is too rare."""

REST = 0
"""The code of what can be no category."""

MISSING = np.iinfo(np.uint32).max
"""The code of a missing cell while it is not known how many texts there are."""


@dataclass
class Lexicon:
    """The distinct texts of one column; the code of a text is its place plus one."""

    missing_values: Collection[str]
    rest: str
    nullable: bool
    _codes: dict[str, int] = field(default_factory=dict, repr=False)

    def code(self, places: npt.NDArray[np.integer[Any]], texts: pa.Array) -> npt.NDArray[np.uint32]:
        """The codes of a batch: each cell is one of ``texts``, which are trimmed, null where missing."""
        absent = {same for text in self.missing_values for same in (text.strip(), canonical(text))}
        missing = MISSING if self.nullable else REST
        codes: npt.NDArray[np.uint32] = np.array([self._of(text, absent, missing) for text in texts.to_pylist()], dtype=np.uint32)
        return codes.take(places)

    def _of(self, text: str | None, absent: Collection[str], missing: int) -> int:
        if text is None or text in absent:
            return int(missing)
        same = canonical(text)
        if same in absent:
            return int(missing)
        if not same or same == self.rest or len(same) > LONGEST or not same.isprintable():
            return REST
        return self._codes.setdefault(same, len(self._codes) + 1)

    @property
    def texts(self) -> list[str]:
        """The texts in the order of their codes, from code 1."""
        return list(self._codes)

    @property
    def size(self) -> int:
        """How many codes there are, that of a missing cell included."""
        return 1 + len(self._codes) + self.nullable

    def digests(self) -> npt.NDArray[np.uint64]:
        """A number for each code that depends on the text alone, not on which texts came before it."""
        import pandas as pd

        named = np.array(["", *self._codes, *([""] if self.nullable else [])], dtype=object)
        hashed: npt.NDArray[np.uint64] = pd.util.hash_array(named, categorize=False)
        # Missing and the rest are no texts; any two fixed numbers will do.
        hashed[0] = 0
        if self.nullable:
            hashed[-1] = 1
        return hashed
