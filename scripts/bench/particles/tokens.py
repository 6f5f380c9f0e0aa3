"""Tasks of ``meanformer bench particles``: methods take one step of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from meanformer.mpi import MPI

import numpy as np

from meanformer.scripts.bench.machine import resident_bytes
from meanformer.scripts.bench.particles.methods import METHODS, our_step
from meanformer.scripts.bench.particles.problems import PROBLEMS, error_of
from meanformer.scripts.bench.timing import PAIRS, REPETITIONS, Result, best_time, over_sizes


def speed(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """Time a method over sizes as far as the budget allows: see ``over_sizes``.

    Args:
        problem: Title of what to compute.
        method: Name of who computes it.
        sizes: Ascending, of whole systems.
        budget: Seconds that one step may take.
    """
    time_one = partial(_time_one, problem, method, budget)
    at_most = 1.0 if PROBLEMS[problem].tokens else PAIRS
    yield from over_sizes(time_one, sizes, budget, METHODS[method].adapts, at_most)


def _time_one(problem: str, method: str, budget: float, size: int, pilot: bool) -> Result:
    """The best of some steps, but not the first of a pilot or of a method that adapts.

    These may compile.
    """
    given = PROBLEMS[problem]
    before = given.start(size)
    prepared = METHODS[method].prepare(given, before)
    least = 2 if pilot or METHODS[method].adapts else 1
    after, times = best_time(prepared.compute, REPETITIONS, budget / 2, least)
    error = error_of(given, before, after)
    return {"size": len(before), **times, "form": prepared.form, "error": error}


def memory(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """The largest resident set of this process, which makes one step of each size. In bytes."""
    given = PROBLEMS[problem]
    for size in sizes:
        before = given.start(size)
        prepared = METHODS[method].prepare(given, before)
        after, times = best_time(prepared.compute, most=0)
        resident = resident_bytes("at most")
        yield {
            "size": size,
            **times,
            "form": prepared.form,
            "error": error_of(given, before, after),
            "resident_bytes": resident,
            "note": f"{resident / 1e9:.2f} GB resident",
        }


def on_ranks(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """Time our step of tokens that are split over the ranks. Collective."""
    comm, given = MPI.COMM_WORLD, PROBLEMS[problem]
    for size in sizes:
        mine = np.array_split(given.start(size), comm.size)[comm.rank].copy()
        run = partial(our_step, given, mine, comm)
        _, times = best_time(run, REPETITIONS, budget / 2, least=2, comm=comm)
        if comm.rank == 0:
            yield {"size": size, **times}
