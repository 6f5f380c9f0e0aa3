"""How long something takes, and how that grows with size: a power law."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from meanformer.mpi import MPI

import numpy as np

T = TypeVar("T")
#: Exponent of a sum over all pairs, where the points are as many as the targets.
PAIRS = 2.0


def best_time(
    run: Callable[[], T],
    most: int,
    seconds: float = np.inf,
    least: int = 1,
    comm: MPI.Comm = MPI.COMM_SELF,
) -> tuple[T, dict[str, Any]]:
    """The least time of some repetitions after a first one, or the first if that is long.

    Args:
        run: What is timed. Collective over ``comm``, of which the slowest rank counts.
        most: Repetitions, at most.
        seconds: No more of them once all have taken longer.
        least: Evaluations, at least: two where the first may compile.
        comm: The ranks that take part.

    Returns:
        What the last returned, and ``seconds`` and ``repetitions``.
    """
    times: list[float] = []
    while len(times) < least or (len(times) <= most and sum(times) <= seconds):
        comm.barrier()
        start = time.perf_counter()
        found = run()
        times.append(comm.allreduce(time.perf_counter() - start, op=MPI.MAX))
    counted = times[1:] or times
    return found, {"seconds": min(counted), "repetitions": len(counted)}


class GrowthLaw(NamedTuple):
    """Seconds = factor * size^exponent."""

    factor: float
    exponent: float

    def __call__(self, size: float) -> float:
        """Seconds that a size takes."""
        return float(self.factor * size**self.exponent)

    def size(self, seconds: float) -> float:
        """The size that takes so long."""
        return float((seconds / self.factor) ** (1 / self.exponent))


def fit_growth(seconds: Mapping[int, float], at_most: float = PAIRS) -> GrowthLaw:
    """The exponent by least squares in the logarithms, through the largest size.

    Args:
        seconds: What each size took, of at least one.
        at_most: The largest exponent to be believed (noise, and small sizes that fit into a
            cache, can show any), and the one believed if a single size was measured.
    """
    x, y = np.log(list(seconds)), np.log(list(seconds.values()))
    exponent = at_most if len(seconds) < 2 else min(float(np.polyfit(x, y, 1)[0]), at_most)
    last = int(np.argmax(x))
    return GrowthLaw(float(np.exp(y[last] - exponent * x[last])), exponent)
