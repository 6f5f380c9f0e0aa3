"""The moments backend: linear attention, whose velocity needs two moments of the measure."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Sums


class LinearSums:
    """Sums of the kernel <Ax,y>: int <Ax,y> mu = <Ax,m> and int y <Ax,y> mu = M A x.

    m is the measure's integral of y and M that of y y^T.

    Args:
        queries: A x for this rank's targets x, ``shape=(m, d)``.
        points: This rank's points y, ``shape=(n, d)``.
        comm: The ranks over which the points are distributed, or None.
    """

    def __init__(self, queries: Array, points: Array, comm: MPI.Comm | None) -> None:
        """Keep the arguments."""
        self._queries, self._points, self._comm = queries, points, comm

    def sums(self, weights: Array, log_factors: Array | None = None) -> Sums:
        """See ``Backend``; nothing is scaled, and there are no factors."""
        weighted = weights[:, None] * self._points
        moments = np.vstack([weighted.sum(axis=0), weighted.T @ self._points])
        if self._comm is not None:
            moments = self._comm.allreduce(moments)
        unscaled = np.zeros(len(self._queries))
        return Sums(unscaled, self._queries @ moments[0], self._queries @ moments[1:])

    def partition(self, weights: Array, log_factors: Array | None = None) -> tuple[Array, Array]:
        """See ``Backend``."""
        return self.sums(weights)[:2]
