"""What all tests share: clean ends between collective tests, measures split over ranks, claims.

``pytest -n auto -m verification --verification=FILE`` runs the tests that a claim of accuracy rests
on, long ones too, and writes what they observed as a page of documentation.
"""

import gc
import os
import platform
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

# Workers of pytest-xdist divide the cores, as ranks do; libraries look when they are imported.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    own_cores = max(1, (os.cpu_count() or 1) // int(workers))
    os.environ.setdefault("OMP_NUM_THREADS", str(own_cores))

from mpi4py import MPI

import numpy as np
import pytest


def pytest_collection_finish():
    """Under mpirun, collections after tests shall look only at what tests made."""
    if MPI.COMM_WORLD.size > 1:
        gc.collect()
        gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker that is done takes over tests of another: the long ones stand together."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    """Under mpirun, after each test free together what destructors free collectively."""
    result = yield
    if MPI.COMM_WORLD.size > 1:
        gc.collect()
        MPI.COMM_WORLD.barrier()
    return result


@pytest.fixture(scope="session", autouse=True)
def compiled_for_one_kind_of_arguments():
    """Compiled functions that are kept on the disk see one kind of arguments only.

    Processes that compile at the same time, such as ranks of a first run, may write over each
    other's files. That is harmless if these hold the same; code for strided arrays under the name
    of that for contiguous ones would compute nonsense.
    """
    yield
    from numba.core.dispatcher import Dispatcher

    modules = [module for name, module in sys.modules.items() if name.startswith("meanformer.")]
    compiled = {
        each for module in modules for each in vars(module).values() if isinstance(each, Dispatcher)
    }
    several = {str(each): each.signatures for each in compiled if len(each.signatures) > 1}
    assert not several


CLAIM = "claim"
CLAIMS = pytest.StashKey()


def pytest_addoption(parser):
    parser.addoption("--verification", metavar="FILE", help="write what tests of claims observed")


def pytest_configure(config):
    if MPI.COMM_WORLD.size > 1:  # or the ranks would clean each other's temporary folders
        root = TemporaryDirectory(prefix="pytest-rank-")
        os.environ["PYTEST_DEBUG_TEMPROOT"] = root.name
        config.add_cleanup(root.cleanup)
    config.stash[CLAIMS] = Claims()
    config.pluginmanager.register(config.stash[CLAIMS])


@pytest.fixture
def verify(request):
    """Note what a test observed, before it is asserted: a claim, its oracle, and the figure."""

    def note(claim, oracle, observed):
        heading = request.module.__doc__.splitlines()[0].rstrip(".")
        line = (request.node.nodeid, heading, claim, oracle, observed)
        request.node.user_properties.append((CLAIM, line))

    return note


@pytest.fixture
def rate():
    """The order of convergence, as the finest meshes show it."""

    def observed(errors, sizes, meshes=2):
        """p of errors C h^p, h = 1/size, by least squares over so many of the finest."""
        return -np.polyfit(np.log(sizes[-meshes:]), np.log(errors[-meshes:]), 1)[0]

    return observed


@pytest.fixture
def verify_order(verify, rate):
    """Note the order of errors on meshes; the claim is what theory says only if it is seen."""

    def note(what, expected, oracle, errors, sizes, *more):
        order = rate(errors, sizes)
        seen = abs(order - expected) <= 0.1
        claim = f"order {expected}" if seen else f"order {order:.1f} ({expected} expected)"
        verify(f"{claim} of {what}", oracle, "; ".join((f"{order:.2f}", *more)))
        return order

    return note


class Claims:
    """What the tests note, of all workers."""

    def __init__(self):
        self.lines = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.lines += [line for name, line in report.user_properties if name == CLAIM]


def pytest_sessionfinish(session, exitstatus):
    path = session.config.getoption("--verification")
    is_worker = hasattr(session.config, "workerinput")
    if path is None or exitstatus != 0 or is_worker or MPI.COMM_WORLD.rank > 0:
        return
    from dolfinx import __version__ as dolfinx_version

    lines = [
        "# What verifies the solvers",
        "",
        "    scripts/env pytest -n auto -m verification --verification=docs/verification.md",
        "",
        f"wrote this page, with DOLFINx {dolfinx_version} and Python {platform.python_version()}.",
        "Each line is a test, which fails if the claim does; long ones carry the marker `slow`.",
        "Meshes have perturbed vertices and are turned out of symmetry.",
    ]
    heading = None
    # Not in the order in which workers are done.
    for node, title, *cells in sorted(session.config.stash[CLAIMS].lines, key=lambda line: line[0]):
        if title != heading:
            heading = title
            lines += [
                "",
                f"## {title}",
                "",
                "| claim | oracle | observed | test |",
                "|---|---|---|---|",
            ]
        lines.append(f"| {' | '.join(cells)} | `{node}` |")
    Path(path).write_text("\n".join([*lines, ""]))


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
