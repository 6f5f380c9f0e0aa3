"""Clusters of points by single linkage: what is nearer than a distance, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array, Indices
from meanformer.theory import single_linkage

#: A linkage over the extent of what is looked at.
RELATIVE = 0.01
#: Points are in one place whose spread is below this share of what they were made of.
ROUND_OFF = 1e-13
# Cells are told apart in at most so many coordinates, each in at most 2^20 parts, so that keys of
# cells fit into 64 bits, with room for neighbours.
_AXES, _PARTS, _STRIDE, _MARGIN = 3, 2.0**20, 2**21, 2
# Cells are so much larger than the linkage, for the round-off of their numbers.
_CELL = 1.01
# Squares of points that are larger than the linkage by less than the inverse do not overflow.
_SMALLEST = 1e-150


@dataclass(frozen=True, eq=False)
class Clusters:
    """Points by clusters, which are numbered by falling mass, then by their first point.

    Attributes:
        labels: The number of each point's cluster, ``shape=(n,)``.
        centres: The weighted mean of each cluster, ``shape=(k, d)``; on a sphere it is inside of
            it.
        masses: The weight of each cluster, ``shape=(k,)``.
    """

    labels: Indices
    centres: Array
    masses: Array

    @property
    def number(self) -> int:
        """How many clusters there are."""
        return len(self.masses)

    @property
    def largest(self) -> float:
        """The largest mass of a cluster."""
        return float(self.masses[0])

    @property
    def counts(self) -> Indices:
        """How many points each cluster has, ``shape=(k,)``."""
        return np.bincount(self.labels)


def relative_linkages(points: Array, lengths: Array) -> Array:
    """A linkage of 1 % of the largest distance of a point from the mean of all, for each system.

    Args:
        points: ``shape=(systems, n, d)``.
        lengths: Of each system, the largest of what its points were made of; 1e-13 of it is
            round-off, ``shape=(systems,)``.

    Returns:
        ``shape=(systems,)``; infinite where all points of a system are in one place up to
        round-off.
    """
    distances = np.linalg.norm(points - points.mean(axis=1, keepdims=True), axis=2)
    linkages = RELATIVE * distances.max(axis=1)
    return np.where(linkages > ROUND_OFF * lengths, linkages, np.inf)


def relative_linkage(points: Array, length: float) -> float:
    """``relative_linkages`` of one system, ``shape=(n, d)``."""
    return float(relative_linkages(points[None], np.array([length]))[0])


def clusters(points: Array, linkage: float, weights: npt.ArrayLike | None = None) -> Clusters:
    """Clusters by single linkage: points no farther apart than the linkage are in one cluster.

    Exact for any points, also where many are in one place or nearly so; linear in their number
    where balls of half the linkage have few neighbours.

    Args:
        points: ``shape=(n, d)``, n > 0, finite.
        linkage: A distance, not negative; infinity makes one cluster of all.
        weights: Positive, ``shape=(n,)``; None is 1/n for each.

    Raises:
        ValueError: If an argument is none of these.
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or not points.size or not np.isfinite(points).all():
        raise ValueError("clusters: points must be finite, of shape (n, d), and at least one")
    if not linkage >= 0:
        raise ValueError(f"clusters: linkage is {linkage}; it must not be negative")
    count = len(points)
    given = np.ones(count) if weights is None else np.asarray(weights, dtype=float)
    if given.shape != (count,) or not np.all((given > 0) & np.isfinite(given)):
        raise ValueError("clusters: weights must be positive, one for each point")
    found = _numbered(points, given, _components(points, linkage))
    return replace(found, masses=found.masses / count) if weights is None else found


def merged(before: Clusters, after: Clusters) -> list[tuple[int, ...]]:
    """Which clusters of a former time are one now: merge events.

    Args:
        before: Clusters of the same points, in the same order, at a former time.
        after: Clusters now.

    Returns:
        For each cluster of now that holds all points of two or more former ones, their numbers in
        ``before``. A former cluster whose points are in several clusters now is in none.

    Raises:
        ValueError: If the numbers of points differ.
    """
    if len(before.labels) != len(after.labels):
        raise ValueError(
            f"merged: there were {len(before.labels)} points, now there are {len(after.labels)}"
        )
    pairs = np.unique(np.stack([before.labels, after.labels], axis=1), axis=0)
    whole = np.bincount(pairs[:, 0])[pairs[:, 0]] == 1
    events: dict[int, list[int]] = {}
    for former, now in pairs[whole].tolist():
        events.setdefault(now, []).append(former)
    return [tuple(former) for _, former in sorted(events.items()) if len(former) > 1]


def _components(points: Array, linkage: float) -> Indices:
    """Some number of each point's cluster, ``shape=(n,)``."""
    # A power of two changes no digit.
    largest = float(np.abs(points).max())
    _, exponent = np.frexp(max(min(linkage, largest), _SMALLEST * largest))
    points, linkage = np.ldexp(points, -exponent), float(np.ldexp(linkage, -exponent))
    keys, strides = _cells(points, _CELL * linkage)
    order = np.argsort(keys, kind="stable")
    points, keys, ball = points[order], keys[order], np.empty(len(points), np.int64)
    near, far = _rows(strides, 1), _rows(strides, 2)
    balls = single_linkage.cover(points, keys, near, (linkage / 2) ** 2, ball)
    by_ball = np.argsort(ball, kind="stable")
    first = np.append(0, np.cumsum(np.bincount(ball)))
    points, keys = points[by_ball], keys[by_ball][first[:-1]]
    parents = np.arange(balls)
    # Most balls are joined by their leaders, and need no second look.
    single_linkage.link(points, first, keys, near, 1, np.zeros(balls), linkage, parents)
    sizes = single_linkage.radii(points, first)
    single_linkage.link(points, first, keys, far, 2, sizes, linkage, parents)
    components = np.empty(len(points), np.int64)
    components[order] = parents[ball]
    return components


def _cells(points: Array, side: float) -> tuple[Indices, Indices]:
    """Keys of cells of a side or more, ``shape=(n,)``, and what neighbours along axes differ by."""
    low = points.min(axis=0)
    extents = points.max(axis=0) - low
    axes = np.argsort(-extents, kind="stable")[:_AXES]
    side = max(side, float(extents.max()) / _PARTS) or 1.0
    strides = np.array([_STRIDE**power for power in reversed(range(len(axes)))])
    numbers = ((points[:, axes] - low[axes]) / side).astype(np.int64)
    return (numbers + _MARGIN) @ strides, strides


def _rows(strides: Indices, reach: int) -> Indices:
    """What keys of rows within reach differ by from a cell's own row, none of them positive."""
    steps = product(range(-reach, reach + 1), repeat=len(strides) - 1)
    differences = (int(np.dot(step, strides[:-1])) for step in steps)
    return np.array(sorted((each for each in differences if each <= 0), reverse=True))


def _numbered(points: Array, weights: Array, components: Indices) -> Clusters:
    """Clusters in their order, of some number of each point's cluster."""
    present, labels = np.unique(components, return_inverse=True)
    count = len(present)
    first = np.empty(count, np.int64)
    first[labels[::-1]] = np.arange(len(labels))[::-1]  # of several values, the last one stays
    masses = np.bincount(labels, weights)
    order = np.lexsort((first, -masses))
    places = np.empty(count, np.int64)
    places[order] = np.arange(count)
    labels, first, masses = places[labels], first[order], masses[order]
    # About a point of the cluster: the mean of a narrow one keeps its digits.
    offsets = weights[:, None] * (points - points[first][labels])
    means = [np.bincount(labels, column) / masses for column in offsets.T]
    return Clusters(labels, points[first] + np.stack(means, axis=1), masses)
