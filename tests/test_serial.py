"""The stand-in for MPI of one process does what MPI does."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer import serial

SENT = [3, 2.5, True, np.arange(6.0).reshape(2, 3), {"status": "done"}, None, np.array(1.5)]


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: type(sent).__name__)
def test_one_rank_gets_what_mpi_gives_it(sent):
    for name in ("bcast", "allgather", "gather"):
        ours, theirs = (getattr(world, name)(sent) for world in (serial.COMM_SELF, MPI.COMM_SELF))
        np.testing.assert_equal(ours, theirs)
    ours, theirs = (world.scatter([sent]) for world in (serial.COMM_SELF, MPI.COMM_SELF))
    np.testing.assert_equal(ours, theirs)


@pytest.mark.parametrize("name", ["SUM", "MIN", "MAX", "LAND"])
@pytest.mark.parametrize("sent", [3, 2.5, np.arange(6.0)], ids=lambda sent: type(sent).__name__)
def test_reductions(name, sent):
    ours = serial.COMM_SELF.allreduce(sent, op=getattr(serial, name))
    np.testing.assert_equal(ours, MPI.COMM_SELF.allreduce(sent, op=getattr(MPI, name)))
    array = np.arange(6.0)
    serial.COMM_SELF.Allreduce(serial.IN_PLACE, array, op=getattr(serial, name))
    assert np.array_equal(array, np.arange(6.0))


def test_what_is_gathered_is_a_copy():
    sent = np.zeros(3)
    world = serial.COMM_WORLD
    for got in (world.allreduce(sent), *world.gather(sent), *world.allgather(sent)):
        got += 1
    assert not sent.any() and (world.rank, world.size) == (0, 1)
