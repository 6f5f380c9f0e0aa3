"""How many threads one process takes: its share of the cores of its node."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

from meanformer.mpi import MPI

from threadpoolctl import ThreadpoolController, threadpool_limits

_EVERY_LIBRARY = "OMP_NUM_THREADS"
_BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

# Multiplications of about a millisecond.
_SMALL = 2e7

_share: int | None = None


def threads() -> int:
    """Threads of this process in each library that has threads.

    A user's OMP_NUM_THREADS comes first, then the share found by ``divided_cores``. Without both,
    a process that runs alone has all cores open to it, and a rank under mpirun has one thread.
    """
    chosen = os.environ.get(_EVERY_LIBRARY, "").split(",")[0].strip()
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    if _share is not None:
        return _share
    return 1 if MPI.COMM_WORLD.size > 1 else len(open_cores())


@contextmanager
def divided_cores(comm: MPI.Intracomm) -> Iterator[None]:
    """Within, ranks of one node divide its cores, in BLAS and OpenMP, too. Collective.

    Threads that outnumber the cores wait for each other: numpy's BLAS alone would take all cores
    in each rank. A user's OMP_NUM_THREADS wins everywhere, and OPENBLAS_NUM_THREADS,
    MKL_NUM_THREADS, BLIS_NUM_THREADS or VECLIB_MAXIMUM_THREADS in BLAS.

    Args:
        comm: The ranks that work. If there are others, which may be at work, too, each rank has
            one thread.
    """
    global _share
    former = _share
    _share = _divide(comm) if comm.size == MPI.COMM_WORLD.size else 1
    limits = {"openmp": threads()}
    if not any(os.environ.get(name) for name in _BLAS):
        limits["blas"] = threads()
    try:
        with threadpool_limits(limits=limits):
            yield
    finally:
        _share = former


def blas_for(multiplications: float) -> AbstractContextManager[object]:
    """Within, BLAS has one thread if its work is small: the start of others is not worth it.

    The exponential of a matrix of 16 rows takes a hundred times as long by two threads where
    another process is at work, a run of 128 tokens in 128 dimensions six times.

    Args:
        multiplications: Of one call or a few, in order of magnitude.
    """
    if multiplications > _SMALL:
        return nullcontext()
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries() -> ThreadpoolController:
    """The libraries with threads that are there at the first call: to look for them takes long."""
    return ThreadpoolController()


def _divide(comm: MPI.Intracomm) -> int:
    """This rank's share of its node's cores."""
    if comm.size == 1:
        return len(open_cores())
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        of_all = node.allgather(open_cores())
        return share_of_cores(of_all[node.rank], of_all)
    finally:
        node.Free()


def share_of_cores(own: Iterable[int], open_cores: Sequence[Iterable[int]]) -> int:
    """Whole cores for one rank: each core is divided among the ranks that it is open to.

    Args:
        own: Numbers of the cores open to the rank: all of its node, or those it is bound to.
        open_cores: Those of all ranks on the node, itself among them.

    Returns:
        At least one.
    """
    users = [set(cores) for cores in open_cores]
    share = sum(1 / sum(core in cores for cores in users) for core in own)
    return max(1, int(share + 1e-9))


def open_cores() -> list[int]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
