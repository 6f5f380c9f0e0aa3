"""Which rank owns which cell: parts of equal size, the same in every run, with ghosts at facets."""

from itertools import pairwise

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import mesh

from meanformer.meshes import ball, box, circle, icosphere
from meanformer.meshes.partition import bisect, with_ghosts

WORLD = MPI.COMM_WORLD
MESHES = {
    "circle": lambda comm: circle(comm, cells=12),
    "sphere": lambda comm: icosphere(comm, level=2, perturbation=0.1),
    "line": lambda comm: box(comm, half_width=1.0, cells=7, dimension=1),
    "plane": lambda comm: box(comm, half_width=1.0, cells=6, dimension=2),
    "ball": lambda comm: ball(comm, radius=1.0, cells=2, dimension=3),
}


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [0, 1, 6, 100])
def test_parts_are_of_equal_size(count, parts):
    points = np.random.default_rng(count).normal(size=(count, 3))
    sizes = np.bincount(bisect(points, parts), minlength=parts)
    assert len(sizes) == parts and sizes.sum() == count
    assert sizes.max() - sizes.min() <= 1


def test_the_longest_extent_is_cut():
    points = np.random.default_rng(0).random((200, 2)) * (1.0, 5.0)
    part = bisect(points, 2)
    assert points[part == 0, 1].max() < points[part == 1, 1].min()


def test_round_off_moves_no_point():
    # Midpoints of a regular mesh have equal coordinates, up to round-off.
    points = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), axis=-1).reshape(-1, 2)
    noise = 1e-14 * np.random.default_rng(1).normal(size=points.shape)
    assert np.array_equal(bisect(points, 4), bisect(points + noise, 4))


def test_neighbours_across_facets_are_ghosts():
    # Four triangles in a row, two for each of two ranks: those in the middle are ghosts.
    cells = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]])
    receivers, starts = with_ghosts(cells, np.array([1, 1, 0, 0]))
    lists = [receivers[a:b].tolist() for a, b in pairwise(starts)]
    assert lists == [[1], [1, 0], [0, 1], [0]]


@pytest.mark.mpi
@pytest.mark.parametrize("name", list(MESHES))
def test_ranks_own_the_parts(name):
    domain, whole = MESHES[name](WORLD), MESHES[name](MPI.COMM_SELF)
    tdim = domain.topology.dim

    def midpoints(domain):
        count = domain.topology.index_map(tdim).size_local
        middle = mesh.compute_midpoints(domain, tdim, np.arange(count, dtype=np.int32))
        return middle, domain.topology.original_cell_index[:count]

    everywhere, numbers = midpoints(whole)
    wanted = np.flatnonzero(bisect(everywhere[np.argsort(numbers)], WORLD.size) == WORLD.rank)
    _, mine = midpoints(domain)
    assert np.array_equal(np.sort(mine), wanted)
    # Each facet of this rank's cells meets all the cells there are.
    domain.topology.create_connectivity(tdim - 1, tdim)
    facets = domain.topology.index_map(tdim - 1)
    cells_of = domain.topology.connectivity(tdim - 1, tdim)
    ends = WORLD.allreduce(
        sum(len(cells_of.links(f)) == 1 for f in range(facets.size_local)), op=MPI.SUM
    )
    whole.topology.create_connectivity(tdim - 1, tdim)
    assert ends == len(mesh.exterior_facet_indices(whole.topology))
