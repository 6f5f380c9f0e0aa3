"""Clusters, linkages and ranks of many systems at once: those of each alone."""

import numpy as np
import pytest

from meanformer.theory import (
    clusters,
    numerical_rank,
    numerical_ranks,
    relative_linkage,
    relative_linkages,
    system_clusters,
)

RNG = np.random.default_rng(3)


def crowds(systems, number, dimension):
    """Tokens of a few narrow crowds, of systems of other sizes and places, one in one place."""
    centres = RNG.normal(size=(systems, 4, dimension))
    chosen = RNG.integers(4, size=(systems, number))
    points = np.take_along_axis(centres, chosen[..., None], axis=1)
    points += 1e-3 * RNG.normal(size=points.shape)
    points *= np.geomspace(1e-6, 1e6, systems)[:, None, None]
    points[-1] = points[-1, 0]
    return points + RNG.normal(size=(systems, 1, dimension))


@pytest.mark.parametrize("dimension", [1, 2, 3, 32])
@pytest.mark.parametrize("systems", [1, 9])
def test_clusters_are_those_of_each(systems, dimension):
    points = crowds(systems, 30, dimension)
    lengths = np.linalg.norm(points, axis=2).max(axis=1)
    linkages = relative_linkages(points, lengths)
    found = system_clusters(points, linkages)
    for system, own in enumerate(points):
        linkage = relative_linkage(own, lengths[system])
        assert linkages[system] == pytest.approx(linkage, rel=1e-12)
        alone, mine = clusters(own, linkage), found.owners == system
        assert found.numbers[system] == alone.number
        assert found.largest[system] == pytest.approx(alone.largest, rel=1e-15)
        assert np.allclose(np.sort(found.masses[mine]), np.sort(alone.masses))
        assert sorted(found.counts[mine]) == sorted(alone.counts)
        first = np.lexsort(alone.centres.T)
        centres = found.centres[mine]
        wanted = alone.centres[first]
        assert np.abs(centres[np.lexsort(centres.T)] - wanted).max() < 1e-13 * lengths[system]
    assert len(set(found.numbers)) > 1 or systems == 1


@pytest.mark.parametrize("number", [5, 150])
def test_ranks_are_those_of_each(number):
    ranks = [1, 2, 3, 5, 4]
    left, right = RNG.random((2, 2, len(ranks), number, 5))
    for system, rank in enumerate(ranks):
        left[:, system, :, rank:] = 0.0
    left[1, ..., 1:] = 0.0  # the largest rank of a head counts
    matrices = left @ right.swapaxes(-1, -2)
    found = numerical_ranks(matrices)
    assert list(found) == ranks
    assert list(found) == [numerical_rank(matrices[:, s]) for s in range(len(ranks))]
