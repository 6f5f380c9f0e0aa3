"""Kuhn's division of a cube into simplices, one for each order of the coordinates.

H. W. Kuhn, "Some combinatorial lemmas in topology", IBM J. Res. Dev. 4 (1960); also known as
Freudenthal's. The simplices of neighbouring cubes meet face to face, and those of a lattice of
cubes that lie in one large simplex of the same kind divide that, too.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from meanformer.arrays import Indices


def lattice(cells: int, dimension: int) -> Indices:
    """Integer points from 0 to ``cells - 1``, the last coordinate fastest."""
    return np.indices((cells,) * dimension).reshape(dimension, -1).T.astype(np.int64)


def cube(dimension: int) -> Indices:
    """The simplices of the unit cube, ``shape=(dimension!, dimension + 1, dimension)``.

    Each goes from the origin to (1, ..., 1) along the axes, in one of the orders of these.
    """
    steps = np.eye(dimension, dtype=np.int64)
    paths = [steps[list(order)].cumsum(axis=0) for order in permutations(range(dimension))]
    return np.pad(np.array(paths), ((0, 0), (1, 0), (0, 0)))


def simplex(cells: int, dimension: int) -> Indices:
    """Divide the simplex n >= x_1 >= ... >= x_d >= 0, with n = ``cells``, into n^d simplices.

    Returns:
        Corners of each simplex, ``shape=(cells^dimension, dimension + 1, dimension)``.
    """
    corners = lattice(cells, dimension)[:, None, None] + cube(dimension)
    corners = corners.reshape(-1, dimension + 1, dimension)
    inside = (np.diff(corners, axis=2) <= 0).all(axis=(1, 2))
    return corners[inside]
