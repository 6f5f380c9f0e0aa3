"""Processes in which ``meanformer bench`` measures: their results, failures and cores."""

import os
import shutil
import time

import pytest

from meanformer.scripts.bench import process
from meanformer.scripts.bench.process import measure

TASKS = """
import os, time
from mpi4py import MPI

comm = MPI.COMM_WORLD

def say(words):
    print("not a result")
    for word in words:
        yield {"word": word, "variable": os.environ.get("VARIABLE")}

def cores():
    for mine in comm.allgather(sorted(os.sched_getaffinity(0))):
        if comm.rank == 0:
            yield {"cores": mine}

def fail_on_last_rank():
    if comm.rank == 0:
        yield {"rank": 0}
    comm.barrier()
    if comm.rank == comm.size - 1:
        raise ArithmeticError("no such number")
    comm.barrier()

def linger():
    yield {"pid": os.getpid()}
    time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def tasks(tmp_path, monkeypatch):
    (tmp_path / "bench_tasks_of_test.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)


needs_two_ranks = pytest.mark.skipif(bool(process.why_not_on(2)), reason="two ranks")


def run(task, arguments=None, **options):
    return measure(f"bench_tasks_of_test:{task}", arguments or {}, **options)


def ends(pid):
    """Whether a process ends within ten seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_results_are_what_the_task_yields():
    given = {"words": ["a", "b"]}
    results, problem = run("say", given, environment={"VARIABLE": "x"})
    assert problem == ""
    assert results == [{"word": "a", "variable": "x"}, {"word": "b", "variable": "x"}]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity")
def test_one_rank_has_one_core():
    results, _ = run("cores", ranks=1)
    assert [len(result["cores"]) for result in results] == [1]


@needs_two_ranks
def test_two_ranks_have_a_core_each():
    results, _ = run("cores", ranks=2)
    first, second = (result["cores"] for result in results)
    assert len(first) == len(second) == 1 and first != second


@needs_two_ranks
def test_a_rank_that_fails_takes_the_others_along():
    results, problem = run("fail_on_last_rank", ranks=2)
    assert results == [{"rank": 0}]
    assert problem == "failed: ArithmeticError: no such number"


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=needs_two_ranks)])
def test_what_takes_too_long_is_stopped_with_all_its_ranks(ranks, monkeypatch):
    monkeypatch.setattr(process, "_PATIENCE", 6.0)
    results, problem = run("linger", ranks=ranks)
    assert problem == "stopped after 6 s"
    assert len(results) == ranks
    for result in results:
        assert ends(result["pid"])


def test_says_why_ranks_cannot_be_had(monkeypatch):
    assert process.why_not_on(10_000) != ""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert process.why_not_on(2) == "mpirun is not on PATH"
