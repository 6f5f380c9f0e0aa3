"""Seams: where parts of a mesh touch without common nodes, so that a boundary runs between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from meanformer.arrays import Array, Indices

_COINCIDE = 1e-9  # of a cell's size: nodes that are closer lie at one point


class SeamWarning(UserWarning):
    """A mesh has nodes that lie at one point and are not joined."""


class Seam(NamedTuple):
    """The points at which boundary nodes coincide.

    Attributes:
        points: How many there are.
        first: The first of them, ordered by x, then y, then z.
        last: The last of them.
    """

    points: int
    first: tuple[float, ...]
    last: tuple[float, ...]

    def __str__(self) -> str:
        """What is wrong, and where."""
        first, last = (f"({', '.join(f'{x:g}' for x in point)})" for point in self[1:])
        where = f"{self.points} points from {first} to {last}" if self.points > 1 else first
        return f"nodes at {where} coincide but are not joined"

    def warning(self) -> str:
        """What is wrong, what follows, and what to do."""
        return (
            f"{self}: a boundary runs there, where mass leaves or stops; gmsh joins parts of a "
            "geometry by Coherence, nodes of a mesh by Coherence Mesh"
        )


def find_seam(nodes: Array, facets: Indices, sizes: Array) -> Seam | None:
    """Look for nodes of the boundary that coincide.

    Args:
        nodes: Those of the mesh, ``shape=(nodes, gdim)``.
        facets: Nodes of each facet of the boundary, ``shape=(facets, nodes per facet)``.
        sizes: The size of the cell at each facet, ``shape=(facets,)``.
    """
    if len(facets) == 0:
        return None
    used, numbers = np.unique(facets.ravel(), return_inverse=True)
    reach = np.full(len(used), np.inf)
    np.minimum.at(reach, numbers, _COINCIDE * np.repeat(sizes, facets.shape[1]))
    points = nodes[used]
    pairs = cKDTree(points).query_pairs(reach.max(), output_type="ndarray")
    distance = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    pairs = pairs[distance <= reach[pairs].min(axis=1)]
    if len(pairs) == 0:
        return None
    # The first of a pair has the lower number: where several nodes coincide, one is never second.
    places = points[np.setdiff1d(pairs[:, 0], pairs[:, 1])]
    extent = np.ptp(nodes, axis=0).max()
    places = np.unique(np.round(places / extent, 9) + 0.0, axis=0) * extent
    return Seam(len(places), tuple(places[0].tolist()), tuple(places[-1].tolist()))
