"""Measures and targets spread over ranks: the same field, and messages of a fixed size."""

import os
import pickle
import shutil
import subprocess
import sys

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Sphere

LAWS = ["softmax", "unnormalised"]


def largest_error(got, wanted):
    return np.linalg.norm(got - wanted, axis=1).max() / np.linalg.norm(wanted, axis=1).max()


@pytest.mark.mpi
@pytest.mark.parametrize("law", ["softmax"])
@pytest.mark.parametrize("beta", [0.0, 4.0, 100.0])
@pytest.mark.parametrize(
    # Scattered points take ever more boxes at large beta.
    ("backend", "count"),
    [("auto", 1000), ("direct", 1000), ("laplace", 200), ("harmonic", 1000)],
)
class TestRanks:
    def both(self, law, beta, backend, points, weights, targets, shares):
        attention = Attention(law, beta)
        alone = attention.prepare(targets, points, Sphere(3), backend=backend)
        my_targets, my_points, my_weights = shares
        together = attention.prepare(
            my_targets, my_points, Sphere(3), comm=MPI.COMM_WORLD, backend=backend
        )
        assert alone.plans[0].backend == together.plans[0].backend
        return together(my_weights), alone(weights)

    def test_a_spread_measure(self, on_sphere, share, gather, law, beta, backend, count):
        points, targets = on_sphere(1, count), on_sphere(2, count)
        weights = np.random.default_rng(3).dirichlet(np.ones(count))
        shares = share(targets), share(points), share(weights)
        got, wanted = self.both(law, beta, backend, points, weights, targets, shares)
        assert largest_error(gather(got.velocity), wanted.velocity) < 1e-13 * (1 + beta)
        log_partition = gather(got.log_partition[0])
        assert np.abs(np.expm1(log_partition - wanted.log_partition[0])).max() < 1e-12

    def test_all_on_the_last_rank(self, on_sphere, share, law, beta, backend, count):
        points, targets = on_sphere(1, count), on_sphere(2, count)
        weights = np.full(count, 1 / count)
        last = MPI.COMM_WORLD.size - 1
        shares = share(targets, last), share(points, last), share(weights, last)
        got, wanted = self.both(law, beta, backend, points, weights, targets, shares)
        assert len(got.velocity) == len(shares[0])
        if MPI.COMM_WORLD.rank == last:
            assert largest_error(got.velocity, wanted.velocity) < 1e-13 * (1 + beta)

    def test_points_on_one_rank_targets_on_another(
        self, on_sphere, share, law, beta, backend, count
    ):
        points, targets = on_sphere(1, count), on_sphere(2, count)
        weights = np.full(count, 1 / count)
        last = MPI.COMM_WORLD.size - 1
        shares = share(targets, 0), share(points, last), share(weights, last)
        got, wanted = self.both(law, beta, backend, points, weights, targets, shares)
        if MPI.COMM_WORLD.rank == 0:
            assert largest_error(got.velocity, wanted.velocity) < 1e-13 * (1 + beta)


class TwinRanks:
    """A communicator of two ranks that hold the same, which weighs what it is given to send."""

    rank, size = 0, 2

    def __init__(self):
        self.sent = []

    def allreduce(self, number, op=MPI.SUM):
        self.sent.append(len(pickle.dumps(number)))
        return 2 * number if op == MPI.SUM else number

    def allgather(self, item):
        self.sent.append(len(pickle.dumps(item)))
        return [item, item]

    def bcast(self, item, root):
        self.sent.append(len(pickle.dumps(item)))
        return item

    def Allreduce(self, in_place, array, op=MPI.SUM):
        assert in_place is MPI.IN_PLACE
        self.sent.append(array.nbytes)
        if op == MPI.SUM:
            array *= 2


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_ten_times_the_points_send_the_same_bytes(on_sphere, law, beta):
    # Pickled integers take a byte or two more when they grow; moments do not.
    sent = []
    for count in (2_000, 20_000):
        twins, points, weights = TwinRanks(), on_sphere(1, count), np.full(count, 1 / count)
        attention = Attention(law, beta)
        v = attention.velocity(points, points, weights / 2, Sphere(3), comm=twins)
        alone = attention.velocity(points, points, weights, Sphere(3))
        assert largest_error(v, alone) < 1e-12
        sent.append(twins.sent)
    few, many = sent
    assert max(many) == max(few) > 0
    assert len(many) == len(few)
    assert abs(sum(many) - sum(few)) <= 2 * len(few)


ON_ONE_RANK = """
from mpi4py import MPI
import numpy as np
from meanformer.attention import Attention, Sphere
world = MPI.COMM_WORLD
points = np.tile(np.eye(3), (100, 1))
if {here}:
    Attention().velocity(points, points, np.ones(300), Sphere(3), comm={comm})
world.barrier()
"""


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs mpirun")
@pytest.mark.parametrize(
    ("here", "comm"),
    [
        ("world.rank == 0", "None"),
        ("world.rank == 0", "MPI.COMM_SELF"),
        ("True", "world.Split(world.rank == 0)"),
    ],
)
def test_waits_only_for_the_ranks_of_its_communicator(here, comm):
    run_on_two_ranks(ON_ONE_RANK.format(here=here, comm=comm))


WITH_AN_EMPTY_RANK = """
from mpi4py import MPI
import numpy as np
from meanformer.attention import Attention, Sphere
world = MPI.COMM_WORLD
points = np.tile(np.eye(3), (100, 1))[: 300 if world.rank == 0 else 0]
Attention().velocity(points, points, np.ones(len(points)), Sphere(3), comm=world)
world.barrier()
"""


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs mpirun")
def test_a_rank_may_hold_nothing_from_the_start():
    run_on_two_ranks(WITH_AN_EMPTY_RANK)


def run_on_two_ranks(script):
    """Run a script in fresh processes; a deadlock ends after some seconds."""
    prefixes = (
        "OMPI_COMM",
        "PMIX",
        "PMI_",
        "HYDRA",
        "OMPI_MCA_orte",
        "OMPI_MCA_ess",
        "PRTE_LAUNCH",
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    command = ["mpirun", "-n", "2", sys.executable, "-m", "mpi4py", "-c", script]
    try:
        subprocess.run(command, env=environment, timeout=60, check=True, capture_output=True)
    except subprocess.TimeoutExpired:
        pytest.fail("the ranks wait for each other for ever")
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stderr.decode())
