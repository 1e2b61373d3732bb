"""Work on a stream with several threads, results in the order of the stream: Arrow and most of NumPy let go of the interpreter."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = min(4, os.cpu_count() or 1)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int = THREADS) -> Iterator[_Result]:
    """``work`` on each item, in the order of the items; never more than ``threads`` + 2 items and results are held."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # After an error, or when the caller stops, what has not begun is dropped.
            pool.shutdown(wait=True, cancel_futures=True)
