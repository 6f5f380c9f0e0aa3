"""What every backend returns: weighted sums of a kernel over the points of a measure."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from meanformer.arrays import Array
from meanformer.errors import SolverError


class AttentionDomainError(SolverError):
    """The velocity is undefined: no mass, Z <= 0, an overflow, or Sinkhorn's failure."""


class Sums(NamedTuple):
    """Sums over all points at each of this rank's targets, scaled against overflow.

    Attributes:
        log_scale: c, ``shape=(m,)``.
        partition: e^{-c} sum_j w_j k(x, y_j), ``shape=(m,)``.
        moment: e^{-c} sum_j w_j k(x, y_j) y_j, ``shape=(m, d)``.
    """

    log_scale: Array
    partition: Array
    moment: Array


class Backend(Protocol):
    """A kernel prepared for fixed targets and points."""

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """Sums with the weights w_j = weights_j e^{log_factors_j}, this rank's share. Collective.

        Args:
            weights: Finite, possibly negative or zero, ``shape=(n,)``.
            log_factors: Finite, of any size, ``shape=(n,)``; None for zeros.
            moment: Whether the moment is wanted; else it may have no columns.
        """
