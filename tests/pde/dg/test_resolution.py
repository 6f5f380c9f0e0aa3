"""The share of the mass that the mesh does not resolve."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention
from meanformer.attention.measures import Gaussian, Mixture, VonMisesFisher
from meanformer.meshes import box, circle, icosphere
from meanformer.pde import DensitySolver
from meanformer.pde.dg.resolution import LARGEST_SHARE, Resolution, halvings_needed


def share(domain, degree, measure):
    solver = DensitySolver(domain, Attention(), degree, measure.density)
    return Resolution(solver.elements, has_noise=False)(solver.values)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_smooth_densities_are_resolved(degree):
    cap = VonMisesFisher((0.0, 0.6, 0.8), 4.0)
    assert (
        share(icosphere(MPI.COMM_WORLD, level=3, geometry_degree=max(2, degree)), degree, cap) == 0
    )


def test_a_peak_as_narrow_as_a_cell_is_not():
    peak = VonMisesFisher((0.6, 0.8), 400.0)
    domain = circle(MPI.COMM_WORLD, cells=80, geometry_degree=2)
    assert share(domain, 1, peak) > 0.5
    assert share(circle(MPI.COMM_WORLD, cells=640, geometry_degree=2), 1, peak) < 0.05


def test_is_the_share_of_the_peak():
    parts = (VonMisesFisher((0.0, 1.0), 1.0), VonMisesFisher((0.6, -0.8), 3000.0))
    for weight in (0.2, 0.7):
        measure = Mixture(parts, (1 - weight, weight))
        assert share(
            circle(MPI.COMM_WORLD, cells=100, geometry_degree=2), 2, measure
        ) == pytest.approx(weight, abs=0.05)


def test_a_cell_without_neighbours_tells_nothing():
    start = Gaussian((0.0,), 0.1)
    solver = DensitySolver(
        box(MPI.COMM_SELF, half_width=2.0, cells=1, dimension=1), Attention(), 2, start.density
    )
    assert Resolution(solver.elements, has_noise=False)(solver.values) == 1


@pytest.mark.parametrize(
    "degree, cells, concentration", [(0, 80, 20.0), (1, 40, 40.0), (2, 28, 40.0), (3, 28, 160.0)]
)
def test_as_many_halvings_as_it_says_are_needed(degree, cells, concentration):
    peak = VonMisesFisher((0.6, 0.8), concentration)

    def after(halvings):
        domain = circle(MPI.COMM_SELF, cells=cells * 2**halvings, geometry_degree=max(2, degree))
        solver = DensitySolver(domain, Attention(), degree, peak.density)
        return Resolution(solver.elements, has_noise=False).after_halvings(solver.values)

    expected = after(0)
    needed = halvings_needed(expected)
    assert needed > 0 and np.all(np.diff(expected) <= 0)
    assert after(needed)[0] <= LARGEST_SHARE < after(needed - 1)[0]


def test_a_single_cell_must_be_halved_to_tell():
    start = Gaussian((0.0,), 0.1)
    solver = DensitySolver(
        box(MPI.COMM_SELF, half_width=2.0, cells=1, dimension=1), Attention(), 2, start.density
    )
    assert (
        halvings_needed(Resolution(solver.elements, has_noise=False).after_halvings(solver.values))
        == 1
    )


@pytest.mark.mpi
def test_does_not_depend_on_the_number_of_ranks():
    peak = VonMisesFisher((0.0, 0.6, 0.8), 15.0)
    alone, together = (
        share(icosphere(c, level=2, geometry_degree=2), 1, peak)
        for c in (MPI.COMM_SELF, MPI.COMM_WORLD)
    )
    assert 0.1 < alone < 1
    assert together == pytest.approx(alone, rel=1e-12)
