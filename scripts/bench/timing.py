"""How long something takes, and how that grows with size: a power law."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from meanformer.mpi import MPI

import numpy as np

T = TypeVar("T")
#: Exponent of a sum over all pairs, where the points are as many as the targets.
PAIRS = 2.0
#: Pilots compile, and tell how long a first size would take.
PILOT = 2000
#: Of an evaluation, at most.
REPETITIONS = 7
# An extra size for the law of growth must be larger than the largest measured by this factor.
_WORTHWHILE = 1.5

Result = dict[str, Any]


def best_time(
    run: Callable[[], T],
    most: int,
    seconds: float = np.inf,
    least: int = 1,
    comm: MPI.Comm = MPI.COMM_SELF,
) -> tuple[T, Result]:
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


def over_sizes(
    time_one: Callable[[int, bool], Result],
    sizes: Sequence[int],
    budget: float,
    adapts: bool,
    at_most: float = PAIRS,
) -> Iterator[Result]:
    """Time a method over sizes as far as the budget allows.

    Where the law of growth says that the next size would take longer than ``budget``, the largest
    size that takes half as long is measured, for the sake of the law, and then no more: other
    times are the law's. A method that adapts has no such law: it is measured at every size.

    Args:
        time_one: Its "seconds" and else at a size, which may be that of a pilot, and is among what
            it gives as "size".
        sizes: Ascending.
        budget: Seconds that one evaluation may take.
        adapts: Whether the method does.
        at_most: The largest exponent to be believed.
    """
    pilot = time_one(min(PILOT, sizes[0]), True)
    # A smaller pilot tells more of overheads than of growth: forgotten once there is better.
    known = [pilot] if pilot["size"] == sizes[0] else []
    yield from known
    left = sizes[len(known) :]
    extended = False
    while left:
        measured = {result["size"]: result["seconds"] for result in known or [pilot]}
        size, law = left[0], fit_growth(measured, at_most)
        if law(size) > budget and not adapts:
            size = int(law.size(budget / 2))
            if extended or size < _WORTHWHILE * max(measured):
                yield from [] if known else [pilot]
                yield from ({"size": n, "seconds": law(n), "extrapolated": True} for n in left)
                return
            extended = True
        known.append(time_one(size, False))
        yield known[-1]
        left = [n for n in left if n > size]
