"""Sums over few pairs: the kernel at all of them is computed once and stored.

What each set of weights then costs is one product of a matrix that fits into the cache.
"""

from __future__ import annotations

from functools import cached_property

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.direct.sums import DirectSums
from meanformer.attention.backends.kernels import Kernel

#: More pairs do not fit into a core's own cache.
MOST_PAIRS = 65_536
#: Logits are at most so large: terms e^{t + l} that matter neither overflow nor vanish.
LARGEST_LOGIT = 100.0
_LARGEST_SPREAD = 200.0
_SIZES = 1e-100, 1e100


class StoredSums:
    """``Backend`` of smooth functions of the logits for few pairs and moderate logits.

    Weights or factors of extreme sizes are left to the direct sum. Arguments as for ``DirectSums``;
    logits do not exceed ``LARGEST_LOGIT``.
    """

    def __init__(self, queries: Array, points: Array, comm: MPI.Comm, kernel: Kernel) -> None:
        self._arguments = queries, points, comm, kernel
        self._comm, self._counts = comm, comm.allgather(len(points))
        everywhere = np.stack([self._gather(column) for column in points.T], axis=1)
        self._kernel, self._log_scale = kernel.dense(queries, everywhere, None)
        self._columns = np.column_stack([np.ones(len(everywhere)), everywhere])
        self._size = float(np.abs(everywhere).max(initial=0.0)) or 1.0

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``."""
        masses = self._masses(weights, log_factors)
        if masses is None:
            return self._direct.sums(weights, log_factors, moment)
        log_scale = self._log_scale + masses[1]
        if not moment:
            return Sums(log_scale, self._kernel @ masses[0], np.empty((len(log_scale), 0)))
        sums = self._kernel @ (masses[0][:, None] * self._columns)
        return Sums(log_scale, sums[:, 0], sums[:, 1:])

    def _masses(self, weights: Array, log_factors: Array | None) -> tuple[Array, float] | None:
        """All ranks' weights times e^{factors - c}, and c; None where their sizes are extreme."""
        masses = self._gather(weights)
        largest = max(masses.max(initial=0.0), -masses.min(initial=0.0))
        low, high = _SIZES
        if not all(low < size < high for size in (largest, largest * self._size)):
            return None
        if log_factors is None:
            return masses, 0.0
        factors = self._gather(log_factors)
        top = float(factors.max())
        if top - factors.min() > _LARGEST_SPREAD:
            return None
        return masses * np.exp(factors - top), top

    def _gather(self, own: Array) -> Array:
        """All ranks' numbers, in the order of ranks. Collective."""
        if self._comm.size == 1:
            return own
        gathered = np.empty(sum(self._counts))
        self._comm.Allgatherv(np.ascontiguousarray(own), [gathered, self._counts])
        return gathered

    @cached_property
    def _direct(self) -> DirectSums:
        """Collective the first time."""
        return DirectSums(*self._arguments)
