"""Where the rows of a ledger are kept: what a store promises, and the errors that all stores share.

A store knows rows and locks. It knows nothing of epsilons: ``ledger_book`` says what the rows mean.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from dpsynth.errors import LedgerError

Row = tuple[int, str, str, str]  # seq, body, prev, hash


class LedgerLocked(LedgerError):
    """Another process held the ledger for longer than the timeout."""


@dataclass(frozen=True)
class Writing:
    """An open transaction: every row there is, read under the write lock, and the way to add the next ones."""

    rows: list[Row]
    insert: Callable[[Row], None]


class Store(Protocol):
    """Rows that are added and never changed. Every call connects anew; nothing is held between calls."""

    @property
    def name(self) -> str:
        """What messages call it: a path, or a server and database without user and password."""

    def rows(self) -> list[Row]:
        """Every row in order, as one consistent state."""

    def writing(self) -> AbstractContextManager[Writing]:
        """The write lock. It is taken before the rows are read, so that no two callers decide on the same balance.

        What was inserted is there for good when the block ends well, and none of it when the block raises.
        """

    def check(self) -> None:
        """Raise ``LedgerCorrupt`` unless the store itself is sound and still refuses to change a row."""
