"""Tasks of ``meanformer bench attention``: methods are timed at several sizes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from meanformer.mpi import MPI

import numpy as np

from meanformer.scripts.bench.attention.methods import METHODS
from meanformer.scripts.bench.attention.problems import PROBLEMS, error_of
from meanformer.scripts.bench.machine import resident_bytes
from meanformer.scripts.bench.timing import best_time, fit_growth

# Pilots compile, and tell how long a first size would take.
_PILOT = 2000
_REPETITIONS = 7
# An extra size for the law of growth must be larger than the largest measured by this factor.
_WORTHWHILE = 1.5

Result = dict[str, Any]


def version(method: str) -> Iterator[Result]:
    """The method's version, or why it cannot be used."""
    module, remark = METHODS[method].module, METHODS[method].remark
    try:
        yield {"version": f"{import_module(module).__version__}{remark}"}
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        yield {"missing": "not installed" if missing else f"cannot be imported: {error}"}


def speed(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """Time a method over sizes as far as the budget allows.

    Where the law of growth says that the next size would take longer than ``budget``, the largest
    size that takes half as long is measured, for the sake of the law, and then no more: other
    times are the law's. A method that adapts has no such law: it is measured at every size.

    Args:
        problem: Title of what to compute.
        method: Name of who computes it.
        sizes: Ascending.
        budget: Seconds that one evaluation may take.
    """
    pilot = _time_one(problem, method, min(_PILOT, sizes[0]), budget, pilot=True)
    # A smaller pilot tells more of overheads than of growth: forgotten once there is better.
    known = [pilot] if pilot["size"] == sizes[0] else []
    yield from known
    left = sizes[len(known) :]
    extended = False
    while left:
        measured = {result["size"]: result["seconds"] for result in known or [pilot]}
        size, law = left[0], fit_growth(measured)
        if law(size) > budget and not METHODS[method].adapts:
            size = int(law.size(budget / 2))
            if extended or size < _WORTHWHILE * max(measured):
                yield from [] if known else [pilot]
                yield from ({"size": n, "seconds": law(n), "extrapolated": True} for n in left)
                return
            extended = True
        known.append(_time_one(problem, method, size, budget))
        yield known[-1]
        left = [n for n in left if n > size]


def _time_one(problem: str, method: str, size: int, budget: float, pilot: bool = False) -> Result:
    """The best of some evaluations, but not the first of a pilot or of a method that adapts.

    These may compile.
    """
    measure = PROBLEMS[problem].measure(size)
    prepared = METHODS[method].prepare(PROBLEMS[problem], measure)
    least = 2 if pilot or METHODS[method].adapts else 1
    velocity, times = best_time(prepared.velocity, _REPETITIONS, budget / 2, least)
    error = error_of(PROBLEMS[problem], measure, velocity)
    return {"size": size, **times, "form": prepared.form, "error": error}


def memory(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """Growth of the resident set during one evaluation, beyond points and libraries. In bytes."""
    given, prepare = PROBLEMS[problem], METHODS[method].prepare
    for size in sizes:
        prepare(given, given.measure(min(size, 10 * _PILOT))).velocity()
        measure = given.measure(size)
        prepared = prepare(given, measure)
        before = resident_bytes("now")
        peak = Path("/proc/self/clear_refs")
        if peak.exists():
            peak.write_text("5")  # it starts anew
        velocity, times = best_time(prepared.velocity, most=0)
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
        _, times = best_time(run, _REPETITIONS, budget / 2, comm=comm)
        if comm.rank == 0:
            yield {"size": size, **times}
