"""The moments backend: sums of products of features, which need two moments of the measure."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Sums


class MomentSums:
    """Sums of the kernel <xi, eta>: <xi, int eta mu> and int <xi, eta> y mu.

    Args:
        queries: xi of this rank's targets, ``shape=(m, r)``.
        keys: eta of this rank's points, ``shape=(n, r)``.
        points: This rank's points y, ``shape=(n, d)``.
        comm: The ranks over which the points are distributed.
    """

    def __init__(self, queries: Array, keys: Array, points: Array, comm: MPI.Comm) -> None:
        self._queries, self._keys, self._points, self._comm = queries, keys, points, comm

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``; nothing is scaled, and there are no factors."""
        weighted = weights[:, None] * self._keys
        moments = np.column_stack([weighted.sum(axis=0), weighted.T @ self._points])
        moments = self._comm.allreduce(moments)
        unscaled = np.zeros(len(self._queries))
        return Sums(unscaled, self._queries @ moments[:, 0], self._queries @ moments[:, 1:])


class FeatureSums(MomentSums):
    """Sums of the kernel sum_a e^{xi_a + eta_a}, of which any term may exceed double precision.

    Arguments as for ``MomentSums``.
    """

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``; there are no factors. Each feature has a scale, and each target."""
        # What weighs nothing must not set a scale.
        tops = np.max(self._keys[weights != 0], axis=0, initial=-np.inf)
        self._comm.Allreduce(MPI.IN_PLACE, tops, op=MPI.MAX)
        tops[tops == -np.inf] = 0.0
        exponents = self._queries + tops
        largest = exponents.max(axis=1)
        features = np.exp(exponents - largest[:, None]), np.exp(np.minimum(self._keys - tops, 0))
        sums = MomentSums(*features, self._points, self._comm).sums(weights)
        return sums._replace(log_scale=largest)
