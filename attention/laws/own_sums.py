"""What the energy of a law is made of: a kernel's sums over a measure at its own points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.direct.systems import apart
from meanformer.attention.heads import Head


@dataclass(frozen=True, eq=False)
class OwnSums:
    """A head's sums over a measure at this rank's points.

    Points have the ``shape=(n, d)``, weights ``(n,)``, and Sinkhorn's potential g, which is None
    for other laws, ``(n,)``. With ``systems`` they are those of as many measures, one after
    another, and integrals have an axis in front for these.
    """

    head: Head
    sums: Sums
    potential: Array | None
    points: Array
    weights: Array
    comm: MPI.Comm
    systems: int | None = None

    @cached_property
    def scale(self) -> Array:
        """e^{log_scale}, ``shape=(n,)``; infinite beyond double precision."""
        with np.errstate(over="ignore"):
            scale: Array = np.exp(self.sums.log_scale)
            return scale

    @cached_property
    def second_moments(self) -> Array:
        """The integral of y y^T mu(dy), ``shape=(d, d)``. Collective."""
        return self.integral(self.points[:, :, None] * self.points[:, None, :])

    def integral(self, values: Array) -> Array:
        """The integral of f mu(dy) of values at the points, ``shape=(n, ...)``. Collective."""
        if self.systems is None:
            share = np.asarray(np.tensordot(self.weights, values, axes=1), dtype=float)
            return self.comm.allreduce(share)
        weights, values = (apart(rows, self.systems) for rows in (self.weights, values))
        return np.einsum("sn,sn...->s...", weights, values)
