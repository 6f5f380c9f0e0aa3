"""The arguments of the meshes that are made, not read."""

from mpi4py import MPI

import pytest

from meanformer.meshes import ball, box, circle, icosphere


@pytest.mark.parametrize(
    ("make", "arguments"),
    [(circle, (3,)), (icosphere, (3,)), (box, (1.0, 3, 2)), (ball, (1.0, 3, 2))],
)
def test_numbers_without_a_name_are_refused(make, arguments):
    with pytest.raises(TypeError, match="positional"):
        make(MPI.COMM_SELF, *arguments)
