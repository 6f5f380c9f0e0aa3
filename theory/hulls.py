"""Convex hulls of points, also of points on a line or a plane."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull

from meanformer.arrays import Array, Indices

# Points are in a plane where they leave it by no more than this share of the largest distance of
# one from their mean, or the second share of their largest length, which is round-off.
_FLAT, _ROUND_OFF = 1e-9, 1e-14


class Hull:
    """The convex hull of points of R^d, d at most 8 or so.

    Points whose extent in a direction is at most 1e-9 of the largest distance of one from their
    mean (or 1e-14 of their largest length) have none: they are flat, and their hull is one of the
    affine space that they span.

    Args:
        points: ``shape=(n, d)``, n > 0, finite.

    Attributes:
        dimension: That of the affine span: 0 for points in one place, d where they are not flat.
        vertices: Numbers of the points that are vertices, rising; of several points in one place,
            one, ``shape=(v,)``.

    Raises:
        ValueError: If points are none of these.
    """

    def __init__(self, points: Array) -> None:
        points = np.asarray(points, dtype=float)
        if points.ndim != 2 or not points.size or not np.isfinite(points).all():
            raise ValueError("hull: points must be finite, of shape (n, d), and at least one")
        self._origin = points[0] + (points - points[0]).mean(axis=0)
        centred = points - self._origin
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        extents = np.abs(centred @ axes.T).max(axis=0)
        width = np.linalg.norm(centred, axis=1).max()
        length = np.linalg.norm(points, axis=1).max()
        there = extents > max(_FLAT * width, _ROUND_OFF * length)
        self._axes = axes[there]
        self.dimension = len(self._axes)
        self._is_flat = self.dimension < points.shape[1]
        # In units of the extents facets are told apart however narrow the hull is.
        scaled = centred @ self._axes.T / extents[there]
        self.vertices, normals, offsets = _facets(scaled)
        normals = normals / extents[there]
        lengths = np.linalg.norm(normals, axis=1)
        self._normals, self._offsets = normals / lengths[:, None], offsets / lengths

    def outside(self, points: Array) -> Array:
        """How far points are beyond the hull, ``shape=(m,)``; 0 for those in it.

        It is the largest distance from a facet's plane on its other side, together with that from
        the affine span of a flat hull. The distance from the hull is at least that, and the same
        next to the interior of a facet.

        Args:
            points: ``shape=(m, d)``.
        """
        inside, off = self._coordinates(points)
        return np.hypot(np.maximum(self._beyond(inside), 0.0), off)

    def distance_to_boundary(self, points: Array) -> Array:
        """The distance of points from the boundary of the hull, ``shape=(m,)``.

        A flat hull has no interior: it is its own boundary, as a subset of R^d, and the distance of
        its points is 0. For points beyond a hull it is ``outside``.

        Args:
            points: ``shape=(m, d)``.
        """
        if self._is_flat:
            return self.outside(points)
        return np.abs(self._beyond(self._coordinates(points)[0]))

    def _coordinates(self, points: Array) -> tuple[Array, Array]:
        """Coordinates in the affine span, ``shape=(m, k)``, and distances from it, ``(m,)``."""
        centred = np.asarray(points, dtype=float) - self._origin
        inside = centred @ self._axes.T
        if not self._is_flat:
            return inside, np.zeros(len(inside))
        return inside, np.linalg.norm(centred - inside @ self._axes, axis=1)

    def _beyond(self, inside: Array) -> Array:
        """Signed distances from the farthest facet's plane, negative inside, ``shape=(m,)``."""
        return (inside @ self._normals.T + self._offsets).max(axis=1, initial=-np.inf)


def _facets(points: Array) -> tuple[Indices, Array, Array]:
    """Vertices of points that are not flat, and normals n and offsets c: <n, x> + c <= 0."""
    if points.shape[1] == 0:
        return np.zeros(1, np.int64), np.empty((0, 0)), np.empty(0)
    if points.shape[1] == 1:
        ends = np.array([points[:, 0].argmin(), points[:, 0].argmax()])
        signs = np.array([-1.0, 1.0])
        return np.sort(ends), signs[:, None], -signs * points[ends, 0]
    hull = ConvexHull(points)
    vertices = np.sort(hull.vertices).astype(np.int64)
    return vertices, hull.equations[:, :-1], hull.equations[:, -1]
