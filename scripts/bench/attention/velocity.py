"""Tasks of ``meanformer bench attention``: methods are timed at several sizes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from meanformer.mpi import MPI

import numpy as np

from meanformer.scripts.bench.attention.methods import METHODS
from meanformer.scripts.bench.attention.problems import PROBLEMS, error_of
from meanformer.scripts.bench.machine import resident_bytes
from meanformer.scripts.bench.timing import PILOT, REPETITIONS, Result, best_time, over_sizes


def speed(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """Time a method over sizes as far as the budget allows: see ``over_sizes``.

    Args:
        problem: Title of what to compute.
        method: Name of who computes it.
        sizes: Ascending.
        budget: Seconds that one evaluation may take.
    """
    time_one = partial(_time_one, problem, method, budget)
    yield from over_sizes(time_one, sizes, budget, METHODS[method].adapts)


def _time_one(problem: str, method: str, budget: float, size: int, pilot: bool) -> Result:
    """The best of some evaluations, but not the first of a pilot or of a method that adapts.

    These may compile.
    """
    measure = PROBLEMS[problem].measure(size)
    prepared = METHODS[method].prepare(PROBLEMS[problem], measure)
    least = 2 if pilot or METHODS[method].adapts else 1
    velocity, times = best_time(prepared.compute, REPETITIONS, budget / 2, least)
    error = error_of(PROBLEMS[problem], measure, velocity)
    return {"size": size, **times, "form": prepared.form, "error": error}


def memory(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """Growth of the resident set during one evaluation, beyond points and libraries. In bytes."""
    given, prepare = PROBLEMS[problem], METHODS[method].prepare
    for size in sizes:
        prepare(given, given.measure(min(size, 10 * PILOT))).compute()
        measure = given.measure(size)
        prepared = prepare(given, measure)
        before = resident_bytes("now")
        peak = Path("/proc/self/clear_refs")
        if peak.exists():
            peak.write_text("5")  # it starts anew
        velocity, times = best_time(prepared.compute, most=0)
        grown = resident_bytes("at most") - before
        note = f"resident set grows by {grown / 2**20:.0f} MiB, {grown / size:.0f} bytes a point"
        yield {
            "size": size,
            **times,
            "form": prepared.form,
            "error": error_of(given, measure, velocity),
            "resident_bytes": grown,
            "note": note,
        }


def on_ranks(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """Time our velocity of points and targets split over the ranks. Collective."""
    comm, given = MPI.COMM_WORLD, PROBLEMS[problem]
    for size in sizes:
        parts = (np.array_split(part, comm.size)[comm.rank] for part in given.measure(size))
        mine = (*(part.copy() for part in parts), given.space, given.tolerance, comm)
        run = partial(given.attention.velocity, *mine)
        _, times = best_time(run, REPETITIONS, budget / 2, comm=comm)
        if comm.rank == 0:
            yield {"size": size, **times}
