"""Tasks of ``meanformer bench attention``: methods are timed at several sizes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from meanformer.mpi import MPI

import numpy as np

from meanformer.scripts.bench.growth import fit_growth
from meanformer.scripts.bench.machine import resident_bytes
from meanformer.scripts.bench.methods import METHODS
from meanformer.scripts.bench.problems import PROBLEMS, Measure, error_of

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
    size that takes half as long is measured, for the sake of the law, and then no more. A method
    that adapts has no such law: it is measured at every size.

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
    extended = False
    for size in sizes[len(known) :]:
        wanted = 0
        while wanted != size:
            measured = {result["size"]: result["seconds"] for result in known or [pilot]}
            wanted, law = size, fit_growth(measured)
            if law(size) > budget and not METHODS[method].adapts:
                wanted = int(law.size(budget / 2))
                if extended or wanted < _WORTHWHILE * max(measured):
                    yield from [] if known else [pilot]
                    return
                extended = True
            known.append(_time_one(problem, method, wanted, budget))
            yield known[-1]


def _time_one(problem: str, method: str, size: int, budget: float, pilot: bool = False) -> Result:
    measure = PROBLEMS[problem].measure(size)
    prepared = METHODS[method].prepare(PROBLEMS[problem], measure)
    found: list[Any] = []

    def seconds() -> float:
        start = time.perf_counter()
        found[:] = [prepared.velocity()]
        return time.perf_counter() - start

    result = _best(seconds, budget, at_least=1 + pilot)
    error = error_of(PROBLEMS[problem], measure, found[0])
    return {"size": size, **result, "form": prepared.form, "error": error}


def _best(measured: Callable[[], float], budget: float, at_least: int = 1) -> Result:
    """The least of some repetitions after a first one, or the first if that is long.

    Args:
        measured: Seconds of one evaluation.
        budget: Of all of them, twice.
        at_least: So many evaluations; more than one where the first may compile.
    """
    times: list[float] = []
    while len(times) < at_least or (len(times) <= _REPETITIONS and sum(times) <= budget / 2):
        times.append(measured())
    counted = times[1:] or times
    return {"seconds": min(counted), "repetitions": len(counted)}


def memory(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """Growth of the resident set during one evaluation, beyond points and libraries. In bytes."""
    given = PROBLEMS[problem]
    for size in sizes:
        small, measure = given.measure(min(size, 10 * _PILOT)), given.measure(size)
        METHODS[method].prepare(given, small).velocity()
        prepared = METHODS[method].prepare(given, measure)
        before = resident_bytes("now")
        if os.path.exists("/proc/self/clear_refs"):
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # the peak starts anew
        start = time.perf_counter()
        velocity = prepared.velocity()
        seconds = time.perf_counter() - start
        grown = resident_bytes("at most") - before
        yield {
            "size": size,
            "seconds": seconds,
            "repetitions": 1,
            "form": prepared.form,
            "error": error_of(given, measure, velocity),
            "resident_bytes": grown,
            "note": f"resident set grows by {grown / 2**20:.0f} MiB, "
            f"{grown / size:.0f} bytes a point",
        }


def on_ranks(problem: str, method: str, sizes: list[int], budget: float) -> Iterator[Result]:
    """Time our velocity of points and targets split over the ranks. Collective."""
    comm = MPI.COMM_WORLD
    given = PROBLEMS[problem]
    for size in sizes:
        measure = given.measure(size)
        mine = Measure(*(np.array_split(part, comm.size)[comm.rank].copy() for part in measure))

        def seconds(mine: Measure = mine) -> float:
            comm.barrier()
            start = time.perf_counter()
            given.attention.velocity(*mine, given.space, given.tolerance, comm=comm)
            return comm.allreduce(time.perf_counter() - start, op=MPI.MAX)

        result = _best(seconds, budget)
        if comm.rank == 0:
            yield {"size": size, **result}
