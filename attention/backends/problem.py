"""What one head asks of a backend: a kernel's sums at some targets over some points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.direct.pairs import largest, lengths
from meanformer.attention.backends.kernels import Kernel
from meanformer.attention.backends.laplace.grid import Grid
from meanformer.attention.matrices import multiple_of_identity, spectral_norm, times
from meanformer.attention.spaces import Space, Sphere


@dataclass(frozen=True, eq=False)
class Problem:
    """The sums that one head needs, and what backends must know to tell their cost.

    Attributes:
        kernel: A function of Q x and K y.
        targets: This rank's x, ``shape=(m, d)``.
        points: This rank's y, ``shape=(n, d)``.
        query: Q times beta, a number or ``shape=(r, d)``.
        key: K, likewise.
        space: Where targets and points live.
        tangential: Whether the part of the moment along x may be left out.
        tolerance: Error allowed in Z and the moment, relative to the sums of absolute terms.
        comm: The ranks over which targets and points are distributed.
        log_factors: What is known of the weights' logarithms, ``shape=(n,)``, or None.
        systems: Of how many systems, all on this rank, rows are; None for one on all ranks.
    """

    kernel: Kernel
    targets: Array
    points: Array
    query: Array
    key: Array
    space: Space
    tangential: bool
    tolerance: float
    comm: MPI.Comm
    log_factors: Array | None = None
    systems: int | None = None

    @cached_property
    def logits(self) -> Array:
        """A = K^T Q, ``shape=(d, d)``, or a number."""
        return times(self.key.T, self.query)

    @cached_property
    def queries(self) -> Array:
        """A x, ``shape=(m, d)``; for a kernel of features, their logarithms, ``shape=(m, r)``."""
        if self.kernel.log_features is not None:
            return self.kernel.log_features(times(self.targets, self.query.T))
        return times(self.targets, self.logits.T)

    @cached_property
    def keys(self) -> Array:
        """The points, ``shape=(n, d)``; or the logarithms of K y's features, ``shape=(n, r)``."""
        if self.kernel.log_features is not None:
            return self.kernel.log_features(times(self.points, self.key.T))
        return self.points

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Numbers of targets and points on all ranks."""
        targets, points = self.comm.allreduce(np.array([len(self.targets), len(self.points)]))
        return int(targets), int(points)

    @cached_property
    def largest_logit(self) -> float:
        """A bound of |<Ax,y>| over all ranks, collective the first time in R^d."""
        if isinstance(self.space, Sphere):
            return spectral_norm(self.logits)
        queries, points = (largest(lengths(a), self.comm) for a in (self.queries, self.points))
        return queries * points

    @cached_property
    def grid(self) -> Grid:
        """Boxes about queries and points for the Laplace backend, collective the first time."""
        return Grid.fit(self.queries, self.points, self.tolerance, self.comm, self.log_factors)

    @property
    def counted_grid(self) -> Grid | None:
        """``grid``, if anyone has asked for it."""
        return vars(self).get("grid")

    @cached_property
    def slope(self) -> float | None:
        """A, where it is a multiple of the identity on a sphere: the kernel is one of A <x,y>."""
        return multiple_of_identity(self.logits) if isinstance(self.space, Sphere) else None
