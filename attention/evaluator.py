"""Attention prepared for fixed points: the choice of a backend, and its evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from meanformer.attention.direct import direct_sums
from meanformer.attention.harmonic import ABSOLUTE_ERROR, HarmonicField, degree_for
from meanformer.attention.matrices import matrix_of, multiple_of_identity, times
from meanformer.attention.spaces import Array, Space, Sphere

if TYPE_CHECKING:
    from meanformer.attention.attention import Attention

#: Below this many pairs the direct sum takes less time than a transform.
_FEW_PAIRS = 20_000
#: A transform of degree L costs as much as this times L^3 pairs, besides what the points cost.
PAIRS_PER_CUBED_DEGREE = 0.2
# Speeds beyond e^300 leave no room for squares of vectors.
_LARGEST_EXPONENT = 300.0
# Beyond, the expansion has thousands of degrees and takes longer than any direct sum.
_LARGEST_BETA = 1e5


class AttentionDomainError(ArithmeticError):
    """The velocity is undefined at a target: softmax with Z <= 0, or an overflow of e^{<Ax,y>}."""


class Field(NamedTuple):
    """What attention says at the targets.

    Attributes:
        velocity: ``shape=(m, d)``, tangent to the space, dimensionless.
        partition: Z e^{-log_scale}, ``shape=(m,)``.
        log_scale: ``shape=(m,)``. Kept apart because Z itself may overflow.
    """

    velocity: Array
    partition: Array
    log_scale: Array


class Evaluator:
    """``Attention`` prepared for fixed targets and points; made by ``Attention.prepare``.

    The harmonic backend serves S^2 where A and V are multiples of the identity. Its error is
    relative to the largest value of the kernel; where Z is so small against that value that the
    tolerance would be missed (targets far from all of the mass, at large beta), the direct sum
    replaces it. So it does where there are few pairs for the degree that beta needs.
    """

    def __init__(
        self,
        attention: Attention,
        targets: Array,
        points: Array,
        space: Space,
        tolerance: float,
        comm: MPI.Comm | None,
    ) -> None:
        """See ``Attention.prepare``."""
        self._comm = comm
        self._softmax = attention.law == "softmax"
        self._space, self._tolerance = space, tolerance
        same = targets is points
        self._points = _as_real(points)
        self._targets = self._points if same else _as_real(targets)
        query, key, value = (
            matrix_of(m) for m in (attention.query, attention.key, attention.value)
        )
        self._agree(
            (None if tolerance > 0 else f"tolerance is {tolerance}; it must be positive")
            or self._problem_with_points()
            or self._problem_with_matrices(query, key, value)
        )

        # Lengths off by what ``holds`` lets pass would move the logits by 1e-6 |beta|.
        self._points = space.retract(self._points)
        self._targets = self._points if same else space.retract(self._targets)
        logits = attention.logit_matrix
        self._value = value
        self._keys = times(self._targets, logits.T)
        scalar, factor = multiple_of_identity(logits)
        pairs = self._sum(len(self._targets)) * self._sum(len(self._points))
        harmonic = (
            space == Sphere(3)
            and scalar
            and multiple_of_identity(value)[0]
            and abs(factor) <= _LARGEST_BETA
            and pairs > _FEW_PAIRS + PAIRS_PER_CUBED_DEGREE * degree_for(factor) ** 3
        )
        self.backend: Literal["harmonic", "direct"] = "harmonic" if harmonic else "direct"
        if harmonic:
            self._scale = abs(factor)
            self._field = HarmonicField(self._targets, self._points, factor, comm)

    def __call__(self, weights: Array) -> Field:
        """Evaluate for one set of weights, this rank's share, ``shape=(n,)``. Collective.

        Raises:
            ValueError: On every rank, if the shape is wrong or a weight is not finite.
            AttentionDomainError: On every rank, if Z <= 0 at a target of the softmax law, or
                if e^{<Ax,y>} overflows in the unnormalised law.
        """
        weights = _as_real(weights)
        total = self._total(weights)
        if self.backend == "harmonic":
            partition, moment = self._field(weights)
            log_scale: Array = np.full(len(partition), self._scale)
            self._mend_far_targets(weights, total, log_scale, partition, moment)
        else:
            log_scale, partition, moment = direct_sums(
                self._keys, self._points, weights, self._comm
            )
            self._check_domain(log_scale, partition)

        if self._softmax:
            moment = moment / partition[:, None]
        else:
            moment = moment * np.exp(log_scale)[:, None]
        velocity = self._space.tangent(self._targets, times(moment, self._value.T))
        return Field(velocity, partition, log_scale)

    def _total(self, weights: Array) -> float:
        """Sum of all ranks' |w|, once they are known to be good."""
        problem = None
        if weights.shape != self._points.shape[:1]:
            problem = f"weights have shape {weights.shape}; expected {self._points.shape[:1]}"
        elif not np.all(np.isfinite(weights)):
            problem = "weights must be finite"
        # A rank with a problem makes the sum nan: one reduction says it all.
        total = self._sum(np.nan if problem else float(np.abs(weights).sum()))
        if np.isnan(total):
            self._agree(problem)
        return total

    def _mend_far_targets(
        self, weights: Array, total: float, log_scale: Array, partition: Array, moment: Array
    ) -> None:
        """Sum directly, in place, at targets whose Z is too small for the tolerance."""
        small = ABSOLUTE_ERROR * total / self._tolerance
        # A negative Z is for the direct sum to confirm, where it may not be.
        trusted = partition > small if self._softmax else np.abs(partition) > small
        far = np.flatnonzero(~trusted)
        mend = self._sum(len(far)) > 0
        if mend:
            log_scale[far], partition[far], moment[far] = direct_sums(
                self._keys[far], self._points, weights, self._comm
            )
        if mend or self._scale > _LARGEST_EXPONENT:
            self._check_domain(log_scale, partition)

    def _check_domain(self, log_scale: Array, partition: Array) -> None:
        """Raise on every rank if the velocity is undefined at a target of any."""
        if self._softmax:
            undefined, reason = ~(partition > 0), "Z is not positive; are weights negative?"
        else:
            undefined, reason = log_scale > _LARGEST_EXPONENT, "e^<Ax,y> exceeds double precision"
        count = self._sum(int(np.count_nonzero(undefined)))
        if count:
            raise AttentionDomainError(f"attention: {reason} (at {count} targets)")

    def _problem_with_points(self) -> str | None:
        d = self._space.dimension
        for name, array in (("targets", self._targets), ("points", self._points)):
            if array.ndim != 2 or array.shape[1] != d:
                return f"{name} have shape {array.shape}; expected (n, {d})"
            if not np.all(np.isfinite(array)):
                return f"{name} must be finite"
            if not self._space.holds(array):
                return f"{name} must be unit vectors"
        return None

    def _problem_with_matrices(self, *matrices: Array) -> str | None:
        d = self._space.dimension
        for name, matrix in zip(("query", "key", "value"), matrices, strict=True):
            if matrix.ndim == 2 and matrix.shape != (d, d):
                return f"{name} has shape {matrix.shape}; expected ({d}, {d})"
        return None

    def _agree(self, problem: str | None) -> None:
        """Raise on every rank what went wrong on any."""
        problems = [problem] if self._comm is None else self._comm.allgather(problem)
        for found in problems:
            if found is not None:
                raise ValueError(f"attention: {found}")

    def _sum(self, number: float) -> float:
        return number if self._comm is None else self._comm.allreduce(number)


def _as_real(given: npt.ArrayLike) -> Array:
    """An array of real numbers; one of shape (0, 0, 0), which fits nowhere, if it is none."""
    try:
        array = np.ascontiguousarray(given)
        return array.astype(float, casting="same_kind", copy=False)
    except (TypeError, ValueError):
        return np.empty((0, 0, 0))
