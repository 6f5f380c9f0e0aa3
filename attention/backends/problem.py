"""What one head asks of a backend: a kernel's sums at some targets over some points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.direct.pairs import Precision, largest, lengths
from meanformer.attention.backends.harmonic import eigenvalues as zonal
from meanformer.attention.backends.kernels import Exponential, Kernel, Sigmoid
from meanformer.attention.backends.laplace.grid import Grid
from meanformer.attention.matrices import multiple_of_identity, spectral_norm, times
from meanformer.attention.spaces import Space, Sphere


@dataclass(frozen=True, eq=False)
class Problem:
    """The sums that one head needs, and what backends must know to tell their cost.

    Attributes:
        kernel: A function of the logits <Q x, K y>.
        targets: This rank's x, ``shape=(m, d)``.
        points: This rank's y, ``shape=(n, d)``.
        query: Q times beta, a number or ``shape=(r, d)``.
        key: K, likewise.
        space: Where targets and points live.
        tangential: Whether the part of the moment along x may be left out.
        tolerance: Error allowed in Z and the moment, relative to the sums of absolute terms.
        precision: Of direct sums.
        comm: The ranks over which targets and points are distributed, or None.
        log_factors: What is known of the weights' logarithms, ``shape=(n,)``, or None.
    """

    kernel: Kernel
    targets: Array
    points: Array
    query: Array
    key: Array
    space: Space
    tangential: bool
    tolerance: float
    precision: Precision
    comm: MPI.Comm | None
    log_factors: Array | None = None

    @cached_property
    def logits(self) -> Array:
        """A = K^T Q, ``shape=(d, d)``, or a number."""
        return times(self.key.T, self.query)

    @cached_property
    def queries(self) -> Array:
        """A x, ``shape=(m, d)``."""
        return times(self.targets, self.logits.T)

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Numbers of targets and points on all ranks."""
        counts = np.array([len(self.targets), len(self.points)])
        targets, points = counts if self.comm is None else self.comm.allreduce(counts)
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
    def zonal_kernel(self) -> zonal.Kernel | None:
        """The kernel as a function of <x,y> on a sphere; None where it is not one."""
        beta = multiple_of_identity(self.logits)
        if beta is None or not isinstance(self.space, Sphere):
            return None
        match self.kernel:
            case Exponential():
                return zonal.Exponential(beta)
            case Sigmoid(offset):
                return zonal.Sigmoid(beta, offset)
        return None
