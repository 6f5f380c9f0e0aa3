"""How far a measure spreads, which sets the scale of time in R^d."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.spaces import Space, Sphere
from meanformer.serial import COMM_SELF


def largest_variance(
    points: Array, weights: Array, space: Space, comm: MPI.Comm | None, central: bool = True
) -> float:
    """The largest variance of a measure in any direction. Collective.

    Args:
        points: This rank's points, ``shape=(n, d)``.
        weights: This rank's weights, with a positive sum over ranks, ``shape=(n,)``.
        space: Where the points live.
        comm: The ranks over which they are distributed, or None.
        central: About the mean; else about the origin.

    Returns:
        The variance per unit of mass; one on the unit sphere, where no point is farther from the
        origin.
    """
    if isinstance(space, Sphere):
        return 1.0
    extended = np.column_stack([np.ones(len(points)), points])
    moments = (weights[:, None] * extended).T @ extended
    moments = (comm or COMM_SELF).allreduce(moments)
    moments /= moments[0, 0]
    squares = moments[1:, 1:]
    if central:
        squares = squares - np.multiply.outer(moments[0, 1:], moments[0, 1:])
    return max(float(np.linalg.eigvalsh(squares)[-1]), 0.0)
