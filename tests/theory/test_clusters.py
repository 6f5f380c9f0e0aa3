"""Single linkage against scipy's, and at the borders of what is compared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from meanformer.theory import clusters, merged, relative_linkage
from meanformer.theory.clusters import Clusters


def by_scipy(points, distance):
    """The same, in quadratic time; labels by first point."""
    labels = fcluster(linkage(pdist(points), "single"), distance, "distance")
    return by_first_point(labels)


def by_first_point(labels):
    """Labels that depend on the partition alone."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse]


def partition(points, distance):
    return by_first_point(clusters(points, distance).labels)


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 9, 64])
@pytest.mark.parametrize("kind", ["uniform", "tight", "cloud", "sphere", "far from the origin"])
def test_partitions_are_those_of_scipy(kind, dimension):
    numbers = np.random.default_rng([dimension, len(kind)])
    for count, distance in ((2, 0.3), (40, 0.2), (300, 0.1), (300, 0.5), (300, 2.0)):
        points = numbers.uniform(size=(count, dimension))
        if kind == "tight":
            points = numbers.normal(size=(7, dimension)).round(1)[numbers.integers(7, size=count)]
            points += 1e-3 * numbers.normal(size=points.shape)
        elif kind == "cloud":
            points = numbers.standard_t(2, size=points.shape)
        elif kind == "sphere" and dimension > 1:
            points = numbers.normal(size=points.shape)
            points /= np.linalg.norm(points, axis=1)[:, None]
        elif kind == "far from the origin":
            points += 1e3
        # Distances that some pairs have as their own are in question, too.
        nearest = np.sort(linkage(pdist(points), "single")[:, 2])
        for each in (distance, *(nearest[:: len(nearest) // 3 + 1] * (1 + 1e-9))):
            assert np.array_equal(partition(points, each), by_scipy(points, each))


@given(
    st.lists(st.tuples(*[st.integers(-6, 6)] * 2), min_size=2, max_size=60),
    st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 100.0]),
)
@settings(max_examples=150, deadline=None)
def test_ties_and_duplicates(corners, distance):
    # Squares of distances are integers: no round-off decides.
    points = np.array(corners, dtype=float)
    assert np.array_equal(partition(points, distance), by_scipy(points, distance))


@pytest.mark.parametrize("dimension", [1, 2, 3, 64])
def test_tight_clusters_that_nearly_touch(dimension):
    # Two clusters of 4000, thousands of times tighter than the linkage: whether their nearest
    # points are linked is known of their places on a line.
    numbers = np.random.default_rng(dimension)
    along = numbers.uniform(-1e-4, 1e-4, size=8000)
    points = np.zeros((8000, dimension))
    points[:, 0] = along + np.repeat([0.0, 1.0], 4000)
    order = numbers.permutation(8000)
    gap = 1.0 + along[4000:].min() - along[:4000].max()
    for distance, expected in ((gap * (1 + 1e-12), 1), (gap * (1 - 1e-12), 2)):
        found = clusters(points[order], distance)
        assert found.number == expected
        assert found.counts.tolist() == [8000 // expected] * expected


@pytest.mark.parametrize("scale", [1e-290, 1e-100, 1.0, 1e100, 1e290])
def test_any_size_of_points(scale):
    points = scale * np.array([[0.0, 1.0], [1.0, 1.0], [5.0, 1.0], [5.0, 2.0], [-9.0, 2.0]])
    assert clusters(points, scale).labels.tolist() == [0, 0, 1, 1, 2]
    assert clusters(points, 0.0).number == 5
    # Points that are huge beside the linkage are still apart, and duplicates together.
    assert clusters(np.concatenate([points, points]), 1e-20 * scale).number == 5


def test_numbers_masses_and_centres():
    points = np.array([[9.0, 0.0], [0.0, 0.0], [0.5, 0.0], [9.0, 0.5], [4.0, 4.0]])
    found = clusters(points, 1.0)
    assert found.labels.tolist() == [0, 1, 1, 0, 2]
    assert found.masses.tolist() == [0.4, 0.4, 0.2]
    assert found.number == 3 and found.largest == 0.4
    assert found.counts.tolist() == [2, 2, 1]
    weighted = clusters(points, 1.0, [1.0, 3.0, 1.0, 1.0, 9.0])
    assert weighted.labels.tolist() == [2, 1, 1, 2, 0]
    assert weighted.masses.tolist() == [9.0, 4.0, 2.0]
    assert np.array_equal(weighted.centres, [[4.0, 4.0], [0.125, 0.0], [9.0, 0.25]])


def test_one_point_and_one_cluster():
    one = clusters(np.array([[3.0, 4.0]]), 0.1)
    assert one.labels.tolist() == [0] and one.centres.tolist() == [[3.0, 4.0]]
    assert clusters(np.random.default_rng(0).normal(size=(50, 3)), np.inf).number == 1


def test_a_chain_is_one_cluster_however_it_is_cut_into_cells():
    turns = np.linspace(0, 40, 5000)
    chain = np.stack([turns * np.cos(turns), turns * np.sin(turns), turns], axis=1)
    longest = np.linalg.norm(np.diff(chain, axis=0), axis=1).max()
    assert clusters(chain, longest * (1 + 1e-12)).number == 1
    assert clusters(chain, longest * (1 - 1e-9)).number == 2


def labelled(*labels):
    labels = np.array(labels)
    count = labels.max() + 1
    return Clusters(labels, np.zeros((count, 1)), np.bincount(labels).astype(float))


def test_merge_events():
    before = labelled(0, 0, 1, 2, 2, 3, 4)
    assert merged(before, before) == []
    assert merged(before, labelled(0, 0, 0, 1, 1, 2, 1)) == [(0, 1), (2, 4)]
    # The first one falls apart: it is in no event.
    assert merged(before, labelled(0, 1, 0, 0, 0, 2, 2)) == [(1, 2), (3, 4)]
    with pytest.raises(ValueError, match="there were 7 points, now there are 2"):
        merged(before, labelled(0, 1))


@pytest.mark.parametrize(
    ("points", "distance", "weights", "message"),
    [
        (np.empty((0, 2)), 1.0, None, "points"),
        (np.ones(3), 1.0, None, "points"),
        (np.array([[np.nan]]), 1.0, None, "points"),
        (np.ones((2, 2)), -1.0, None, "linkage is -1"),
        (np.ones((2, 2)), np.nan, None, "linkage is nan"),
        (np.ones((2, 2)), 1.0, [1.0], "weights"),
        (np.ones((2, 2)), 1.0, [1.0, 0.0], "weights"),
    ],
)
def test_wrong_arguments(points, distance, weights, message):
    with pytest.raises(ValueError, match=message):
        clusters(points, distance, weights)


def test_a_relative_linkage():
    points = np.array([[0.0, 0.0], [2.0, 0.0]]) + 7.0
    assert relative_linkage(points, 10.0) == pytest.approx(0.01)
    assert relative_linkage(1e9 * points, 1e10) == pytest.approx(1e7)
    # Up to round-off of what they were made of, points are in one place.
    assert relative_linkage(points, 1e12) == np.inf
    assert clusters(points, relative_linkage(points, 1e12)).number == 1
    assert relative_linkage(points[:1], 10.0) == np.inf
