"""Work shared among the threads of one process, for compiled code that releases the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from meanformer.attention.threads import threads

Item = TypeVar("Item")


def share_out(work: Callable[[Item], None], items: Iterable[Item], worthwhile: bool) -> None:
    """Do the work for each item, in threads if ``worthwhile``: starting them takes 0.1 ms."""
    if worthwhile and threads() > 1:
        with ThreadPoolExecutor(threads()) as pool:
            for _ in pool.map(work, items):
                pass
    else:
        for item in items:
            work(item)
