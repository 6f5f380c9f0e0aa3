"""What ``meanformer bench attention`` measures in a process of its own (``bench_worker``)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from meanformer.mpi import MPI

import numpy as np

from meanformer.scripts.bench_growth import GrowthLaw, fit_growth
from meanformer.scripts.bench_machine import resident_bytes
from meanformer.scripts.bench_methods import METHODS, Method
from meanformer.scripts.bench_problems import PROBLEMS, Measure, Problem, error_of

# Pilots compile, and tell how long a first size would take.
_PILOT = 2000
_REPETITIONS = 7
# An extra size for the law of growth must be larger than the largest measured by this factor.
_WORTHWHILE = 1.5

Result = dict[str, Any]


def speed(problem: Problem, method: Method, sizes: list[int], budget: float) -> Iterator[Result]:
    """Time a method over sizes as far as the budget allows.

    Where the law of growth says that the next size would take longer than ``budget``, the largest
    size that takes half as long is measured, for the sake of the law, and then no more. A method
    that adapts has no such law: it is measured at every size.

    Args:
        problem: What to compute.
        method: How.
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
            wanted, law = size, _law(known or [pilot])
            if law(size) > budget and not method.adapts:
                wanted = int(law.size(budget / 2))
                if extended or wanted < _WORTHWHILE * (known or [pilot])[-1]["size"]:
                    yield from [] if known else [pilot]
                    return
                extended = True
            known.append(_time_one(problem, method, wanted, budget))
            yield known[-1]


def _law(results: list[Result]) -> GrowthLaw:
    """The growth that some results show."""
    return fit_growth([each["size"] for each in results], [each["seconds"] for each in results])


def _time_one(
    problem: Problem, method: Method, size: int, budget: float, pilot: bool = False
) -> Result:
    """The best of some repetitions after a first one, or the first if that is long.

    But not of a pilot, whose first may compile.
    """
    measure = problem.measure(size)
    prepared = method.prepare(problem, measure)
    times: list[float] = []
    while True:
        start = time.perf_counter()
        velocity = prepared.velocity()
        times.append(time.perf_counter() - start)
        if len(times) > _REPETITIONS or (sum(times) > budget / 2 and len(times) > pilot):
            break
    return {
        "size": size,
        "seconds": min(times[1:] or times),
        "repetitions": len(times[1:] or times),
        "form": prepared.form,
        "error": error_of(problem, measure, velocity),
    }


def memory(problem: Problem, method: Method, sizes: list[int], budget: float) -> Iterator[Result]:
    """Growth of the resident set during one evaluation, beyond points and libraries. In bytes."""
    for size in sizes:
        small, measure = problem.measure(min(size, 10 * _PILOT)), problem.measure(size)
        method.prepare(problem, small).velocity()
        prepared = method.prepare(problem, measure)
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
            "error": error_of(problem, measure, velocity),
            "resident_bytes": grown,
            "note": f"resident set grows by {grown / 2**20:.0f} MiB, "
            f"{grown / size:.0f} bytes a point",
        }


def ranks(problem: Problem, method: Method, sizes: list[int], budget: float) -> Iterator[Result]:
    """Time the velocity of points and targets split over the ranks. Collective; one core a rank."""
    comm = MPI.COMM_WORLD
    for size in sizes:
        measure = problem.measure(size)
        mine = Measure(*(np.array_split(part, comm.size)[comm.rank].copy() for part in measure))
        times = []
        while True:
            comm.barrier()
            start = time.perf_counter()
            problem.attention.velocity(*mine, problem.space, problem.tolerance, comm=comm)
            times.append(comm.allreduce(time.perf_counter() - start, op=MPI.MAX))
            if len(times) > _REPETITIONS or sum(times) > budget / 2:
                break
        if comm.rank == 0:
            yield {"size": size, "seconds": min(times[1:] or times), "ranks": comm.size}


def versions(problem: Problem, method: Method, sizes: list[int], budget: float) -> Iterator[Result]:
    """The method's version, or why it cannot be used."""
    try:
        yield {"version": method.version()}
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == method.name
        yield {"missing": "not installed" if missing else f"cannot be imported: {error}"}


_TASKS: dict[str, Callable[[Problem, Method, list[int], float], Iterator[Result]]] = {
    task.__name__: task for task in (speed, memory, ranks, versions)
}


def measure(
    task: str, problem: str, method: str, sizes: list[int], budget: float
) -> Iterator[Result]:
    """One of the above, by the names of the task, the problem and the method."""
    yield from _TASKS[task](PROBLEMS[problem], METHODS[method], sizes, budget)
