"""How far a measure spreads, which sets the scale of time in R^d."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.direct.systems import apart
from meanformer.attention.spaces import Space, Sphere
from meanformer.serial import COMM_SELF


def largest_variance(
    points: Array, weights: Array, space: Space, comm: MPI.Comm | None, central: bool = True
) -> float:
    """The largest variance of a measure in any direction, as ``largest_variances``. Collective."""
    return float(largest_variances(points, weights, space, comm, central, systems=1)[0])


def largest_variances(
    points: Array,
    weights: Array,
    space: Space,
    comm: MPI.Comm | None,
    central: bool,
    systems: int,
) -> Array:
    """The largest variance of each of several measures in any direction. Collective.

    Args:
        points: This rank's points, of one measure after another, as many each, ``shape=(n, d)``.
        weights: This rank's weights, with positive sums over ranks, ``shape=(n,)``.
        space: Where the points live.
        comm: The ranks over which measures are distributed, or None.
        central: About the mean; else about the origin.
        systems: How many measures there are.

    Returns:
        The variances per unit of mass, ``shape=(systems,)``; one on the unit sphere, where no point
        is farther from the origin.
    """
    if isinstance(space, Sphere):
        return np.ones(systems)
    extended = np.column_stack([np.ones(len(points)), points])
    weighted = apart(weights[:, None] * extended, systems)
    moments = weighted.swapaxes(1, 2) @ apart(extended, systems)
    moments = (comm or COMM_SELF).allreduce(moments)
    moments = moments / moments[:, :1, :1]
    means, squares = moments[:, 0, 1:], moments[:, 1:, 1:]
    if central:
        squares = squares - means[:, :, None] * means[:, None, :]
    return np.maximum(np.linalg.eigvalsh(squares)[:, -1], 0.0)
