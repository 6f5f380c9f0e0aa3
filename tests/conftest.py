"""What all tests share: clean ends between collective tests, and measures split over ranks."""

import gc

from mpi4py import MPI

import numpy as np
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    """Under mpirun, after each test free together what destructors free collectively."""
    result = yield
    if MPI.COMM_WORLD.size > 1:
        gc.collect()
        MPI.COMM_WORLD.barrier()
    return result


@pytest.fixture
def shared_tmp_path(tmp_path):
    """One temporary folder for all ranks: that of rank 0."""
    return MPI.COMM_WORLD.bcast(tmp_path, root=0)


@pytest.fixture
def share():
    """Split an array over the ranks: alternating entries, or all of them on rank ``only``."""

    def split(array, only=None):
        comm = MPI.COMM_WORLD
        if only is not None:
            return array if comm.rank == only else array[:0]
        return array[comm.rank :: comm.size]

    return split


@pytest.fixture
def gather():
    """Undo ``share``: the whole array, on every rank."""

    def join(array):
        parts = MPI.COMM_WORLD.allgather(array)
        whole = np.empty((sum(map(len, parts)), *array.shape[1:]))
        for rank, part in enumerate(parts):
            whole[rank :: len(parts)] = part
        return whole

    return join


@pytest.fixture
def on_sphere():
    """Random unit vectors, uniform or spread by ``width`` about ``centre``."""

    def make(seed, count, dimension=3, centre=None, width=np.inf):
        x = np.random.default_rng(seed).normal(size=(count, dimension))
        if centre is not None:
            x = np.asarray(centre) + width * x
        return x / np.linalg.norm(x, axis=1)[:, None]

    return make
