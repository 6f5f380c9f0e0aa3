"""Work shared among the threads of one process, for compiled code that releases the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

from meanformer.threads import blas_for, threads

Item = TypeVar("Item")
Result = TypeVar("Result")

# Slices a thread, so that threads end together.
_SLICES = 2


def share_out(
    work: Callable[[Item], Result], items: Iterable[Item], worthwhile: bool
) -> list[Result]:
    """Do the work for each item, in threads if ``worthwhile``: starting them takes 0.1 ms.

    BLAS has one thread in each of them: together they would outnumber the cores.
    """
    if worthwhile and threads() > 1:
        with blas_for(0), ThreadPoolExecutor(threads()) as pool:
            return list(pool.map(work, items))
    return [work(item) for item in items]


def share_out_slices(
    work: Callable[[slice], Result], length: int, worthwhile: bool
) -> list[Result]:
    """Do the work for slices, none empty, that make up range(length); in threads for several."""
    count = _SLICES * threads() if worthwhile and threads() > 1 else 1
    cuts = [length * i // count for i in range(count + 1)]
    return share_out(work, [slice(a, b) for a, b in pairwise(cuts) if a < b], worthwhile)
