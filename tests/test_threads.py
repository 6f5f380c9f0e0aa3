"""Threads of a process: its share of the node's cores, in every library, unless the user chose."""

import os

from mpi4py import MPI

import ducc0
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from meanformer.attention.transforms.nonuniform import transform_threads
from meanformer.simulation import Case, runner
from meanformer.threads import blas_for, divided_cores, share_of_cores, threads

CHOICES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


@pytest.fixture(autouse=True)
def no_choice(monkeypatch):
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)


def blas_threads():
    """Of libraries that were built with threads."""
    np.eye(2) @ np.eye(2)
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {pool["num_threads"] for pool in pools if pool["threading_layer"] != "disabled"}


@pytest.mark.parametrize(
    ("own", "others", "share"),
    [
        (range(16), [range(16)], 16),
        (range(16), [range(16)] * 2, 8),
        (range(16), [range(16)] * 5, 3),
        (range(2), [range(2)] * 3, 1),
        (range(4), [range(4), range(4, 8)], 4),  # each rank is bound to its cores
        (range(8), [range(8), range(4, 8)], 6),
    ],
)
def test_a_core_is_divided_among_the_ranks_that_may_use_it(own, others, share):
    assert share_of_cores(own, others) == share


@pytest.mark.mpi
def test_ranks_of_a_node_take_no_more_threads_than_it_has_cores():
    comm = MPI.COMM_WORLD
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    cores = set().union(*node.allgather(os.sched_getaffinity(0)))
    with divided_cores(comm):
        taken = node.allreduce(threads())
        assert taken <= max(len(cores), node.size)
        assert taken == len(cores) or comm.size > 1
        assert blas_threads() <= {threads()}
        assert transform_threads() == ducc0.misc.thread_pool_size() == threads()
    node.Free()


@pytest.mark.mpi
def test_within_ranks_that_are_not_all_each_has_one_thread():
    comm = MPI.COMM_WORLD
    with divided_cores(MPI.COMM_SELF):
        assert comm.size == 1 or threads() == 1


def test_limits_end_with_the_block():
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        with divided_cores(MPI.COMM_WORLD):
            pass
        assert blas_threads() == before


def test_a_users_choice_wins(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    with divided_cores(MPI.COMM_WORLD):
        assert threads() == 3
        assert blas_threads() <= {3}
        assert transform_threads() == ducc0.misc.thread_pool_size() == 3


def test_a_users_choice_for_blas_wins_there(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    with threadpool_limits(limits=3, user_api="blas"), divided_cores(MPI.COMM_WORLD):
        assert blas_threads() <= {3}
        assert threads() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("value", ["", "many", "0", "-1"])
def test_what_is_no_number_of_threads_is_no_choice(monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads() == (1 if MPI.COMM_WORLD.size > 1 else len(os.sched_getaffinity(0)))


def test_a_run_divides_the_cores(monkeypatch):
    found = []

    def spy(*arguments):
        found.append((threads(), blas_threads()))
        return build(*arguments)

    build = runner.build
    monkeypatch.setattr(runner, "build", spy)
    case = {
        "space": {"kind": "sphere", "dimension": 2},
        "attention": {"law": "softmax", "beta": 1.0},
        "initial": {"kind": "tokens", "points": [[1.0, 0.0], [0.0, 1.0]]},
        "particles": {},
        "time": {"end": 0.1, "sample_every": 0.1},
    }
    with threadpool_limits(limits=3, user_api="blas"):
        runner.run(Case.model_validate(case))
    [(count, of_blas)] = found
    assert count == len(os.sched_getaffinity(0))
    assert of_blas <= {count}


def test_one_thread_for_small_matrices():
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        with blas_for(16**3):
            assert blas_threads() <= {1}
        with blas_for(1000**3):
            assert blas_threads() == before
        assert blas_threads() == before
