"""What each token of causal attention sees: the points before it, with weights that decay."""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.direct.systems import apart
from meanformer.serial import COMM_SELF

#: Squares of e to it are in double precision.
LARGEST_DECAY = 300.0


class Mask(NamedTuple):
    """How causal attention sees.

    Attributes:
        sees_itself: Whether a token sees itself, or only those before it.
        decay: lambda: token j sees i with the weight e^{-lambda (j-i) / N} (ALiBi,
            arXiv 2605.09213), dimensionless.
    """

    sees_itself: bool
    decay: float


def problem_with_mask(causal: object, sees_itself: object, decay: object) -> str | None:
    """What is wrong with what says how targets see, if anything."""
    for name, given in (("causal", causal), ("sees_itself", sees_itself)):
        if not isinstance(given, bool):
            return f"{name} is {given!r}; it must be True or False"
    if not (isinstance(decay, Real) and abs(float(decay)) <= LARGEST_DECAY):
        return f"decay is {decay}; it must be at most {LARGEST_DECAY:g} in size"
    if not causal and (decay != 0 or not sees_itself):
        return "decay and sees_itself are of causal attention: causal must be True"
    return None


class Past:
    """The points of all ranks in their order, and which of them each target sees.

    The M targets are the last of the N points, in the order of all ranks, rank 0 first. Target j is
    point N - M + j, and sees the points before it, itself among them or not. What it sees is the
    measure mu_j = sum_i w_i e^{lambda i / N} delta_{y_i} / M_j, of mass 1. Collective.

    With ``systems`` that holds for each of so many systems on this rank, of equal numbers of rows;
    numbers of rows are then those of one.

    Args:
        mask: How targets see.
        targets: This rank's x, ``shape=(m, d)``.
        points: This rank's y, ``shape=(n, d)``.
        comm: The ranks.
        systems: Of how many systems rows are; None for one on all ranks.

    Attributes:
        points: Of all ranks, ``shape=(N, d)``.
        first: N - M, the number of the first target among the points.
        own_points: This rank's among those of all ranks.
        own_targets: This rank's among the targets of all ranks.
        seen: How many points, the first ones, each of this rank's targets sees, ``shape=(m,)``.
    """

    def __init__(
        self,
        mask: Mask,
        targets: Array,
        points: Array,
        comm: MPI.Comm,
        systems: int | None = None,
    ) -> None:
        self.mask, self._systems = mask, 1 if systems is None else systems
        self._comm = comm if systems is None else COMM_SELF
        self._targets = targets
        self.points = self.gathered(points)
        targets, points = self._apart(targets), self._apart(points)
        of_targets, of_points = (self._comm.allgather(rows.shape[1]) for rows in (targets, points))
        self.own_targets, self.own_points = (
            _own(counts, self._comm.rank) for counts in (of_targets, of_points)
        )
        self.first = sum(of_points) - sum(of_targets)
        numbers: Indices = self.first + np.arange(self.own_targets.start, self.own_targets.stop)
        self.seen = numbers + mask.sees_itself
        self._fits = self.first >= 0 and np.array_equal(
            targets, self._apart(self.points)[:, numbers]
        )

    def gathered(self, own: Array) -> Array:
        """What all ranks have of each point, of which this rank gives its own. Collective."""
        return np.concatenate(self._comm.allgather(own)) if self._comm.size > 1 else own

    @property
    def problem(self) -> str | None:
        """What is wrong with this rank's targets, if anything."""
        return None if self._fits else "targets of causal attention must be the last of the points"

    def decayed(self, weights: Array) -> Array:
        """w_i e^{lambda i / N} of this rank's points, up to one factor of all, ``shape=(n,)``.

        Of e^{-lambda (j-i) / N}, what depends on j is part of M_j. No factor exceeds 1.
        """
        decay, count = self.mask.decay, len(self.points) // max(self._systems, 1)
        if decay == 0:
            return weights
        numbers = np.arange(self.own_points.start, self.own_points.stop)
        factors: Array = np.exp(decay * (numbers / count - (decay > 0)))
        return (self._apart(weights) * factors).ravel()

    def masses(self, decayed: Array) -> Array:
        """M_j at this rank's targets, of what ``decayed`` gave, ``shape=(m,)``. Collective."""
        weights = self._apart(self.gathered(decayed))
        sums = np.pad(np.cumsum(weights, axis=1), ((0, 0), (1, 0)))
        masses: Array = sums[:, self.seen].ravel()
        return masses

    def of_mass_one(self, sums: Sums, masses: Array, normalised: bool, relative: bool) -> Sums:
        """Sums over mu_j, of those over all that a target sees.

        Those of a normalised law remain as they are, as its velocity does. A target that sees no
        mass shall stay where it is: the average there is 0, relative to the target or not.

        Args:
            sums: At this rank's targets.
            masses: M_j.
            normalised: Whether the velocity is an average.
            relative: Whether values are those of y - x.
        """
        blind, divisors = masses == 0, self.divisors(masses, normalised)
        partition, moment = sums.partition / divisors, sums.moment / divisors[:, None]
        partition[blind] = 1.0
        moment[blind] = self._targets[blind] if relative else 0.0
        return Sums(np.where(blind, 0.0, sums.log_scale), partition, moment)

    @staticmethod
    def divisors(masses: Array, normalised: bool) -> Array:
        """What sums over all that a target sees are divided by, ``shape=(m,)``."""
        divisors: Array = np.where((masses == 0) | normalised, 1.0, masses)
        return divisors

    def _apart(self, rows: Array) -> Array:
        return apart(rows, self._systems)


def _own(counts: list[int], rank: int) -> slice:
    """A rank's rows among those of all ranks, of which each has so many."""
    before = sum(counts[:rank])
    return slice(before, before + counts[rank])
