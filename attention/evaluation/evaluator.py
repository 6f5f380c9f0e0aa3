"""Attention prepared for fixed points: arguments checked, heads added, domains guarded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, reduce
from itertools import chain
from typing import NamedTuple

from meanformer.mpi import MPI

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.attention.backends.backend import AttentionDomainError, Sums
from meanformer.attention.backends.causal.past import Mask, Past
from meanformer.attention.backends.plan import Choice, Plan
from meanformer.attention.drift import Drift
from meanformer.attention.evaluation.arguments import (
    Agreement,
    as_real,
    problem_with_model,
    problem_with_options,
    problem_with_points,
    problem_with_systems,
    problem_with_weights,
)
from meanformer.attention.evaluation.head_sums import SumsOfHead, sums_of_head
from meanformer.attention.heads import Head
from meanformer.attention.laws import Law
from meanformer.attention.matrices import applied
from meanformer.attention.rows import divide
from meanformer.attention.spaces import Space, Sphere
from meanformer.serial import COMM_SELF

#: How accurate attention needs to be where its errors are weighted with the measure's own mass: the
#: relative error of Z, and of averages over it, where Z is small against e^beta, that is where
#: there is almost no mass (a share m of the mass near x makes Z(x) at least m e^beta). Weighted
#: with the mass, the error of harmonics stays at 1e-12; that of other backends is well below the
#: bound.
OF_OWN_MASS = 1e-8

# Speeds beyond e^300 leave no room for squares of vectors.
_LARGEST_EXPONENT = 300.0


class Field(NamedTuple):
    """What attention says at the targets.

    Attributes:
        velocity: ``shape=(m, d)``, tangent to the space, dimensionless; with that of the drift.
        partition: Z e^{-log_scale}, a row for each head, ``shape=(h, m)``. Z is the sum of the
            law's kernel: of e^{<Ax,y>}, of e^{-beta |Qx-Ky|^2}, of the sigmoid, of <Ax,y> (linear),
            e^{-f} (sinkhorn), the mass of the maximisers (hardmax), or of the features' product.
            For a target of causal attention it is the sum over the points that it sees, or 1 where
            they have no mass; only where the law is not normalised, that mass is made 1 first.
        log_scale: ``shape=(h, m)``. Kept apart because Z itself may overflow.
        mass: Sum of the absolute weights; of several systems, the mean of theirs. Of causal
            attention it is 1, the mass of what a target sees.
    """

    velocity: Array
    partition: Array
    log_scale: Array
    mass: float

    @property
    def log_partition(self) -> Array:
        """Log Z, ``shape=(h, m)``; nan where Z is negative."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(self.partition) + self.log_scale


class Evaluator:
    """``Attention`` prepared for fixed targets and points.

    Made by ``Attention.prepare``, whose arguments it takes, with the law, what stands before the
    names of each head's matrices in messages, whether values are V (y - x), and the drift. Its
    ``comm`` are the ranks, also where None was given; the mask is that of causal attention.
    """

    def __init__(
        self,
        law: Law,
        heads: Mapping[str, Head],
        relative: bool,
        drift: Drift | None,
        targets: Array,
        points: Array,
        space: Space,
        tolerance: float,
        comm: MPI.Comm | None,
        backend: Choice,
        systems: int | None,
        mask: Mask | None,
    ) -> None:
        # Where there is one rank, nothing is asked of MPI, which would pickle every number.
        self.comm = comm = comm if comm is not None and comm.size > 1 else COMM_SELF
        self._space, self._law, self._relative, self._drift = space, law, relative, drift
        self._ranks = Agreement(comm)
        # Ranks must agree on this and on the options: what comes is collective.
        same = comm.allreduce(targets is points, op=MPI.LAND)
        self._ranks.accept(problem_with_options(tolerance, backend))
        # Numbers of systems may differ, but not whether there are any.
        options = float(tolerance), backend, systems is None
        first = comm.bcast(options, root=0)
        differ = f"tolerance, backend, 'systems is None' are {options}, but {first} on rank 0"
        self._ranks.accept(None if options == first else differ)
        self._points = as_real(points)
        self._targets = self._points if same else as_real(targets)
        self._ranks.accept(
            problem_with_points("targets", self._targets, space)
            or problem_with_points("points", self._points, space)
            or problem_with_systems(systems, self._targets, self._points, heads)
            or problem_with_model(heads, drift, space)
        )
        # Lengths off by what ``holds`` lets pass would move the logits by 1e-6 |beta|.
        self._points = space.retract(self._points)
        self._targets = self._points if same else space.retract(self._targets)
        if not isinstance(space, Sphere):  # not the caller's own arrays, which may change
            self._points = self._points.copy()
            self._targets = self._points if same else self._targets.copy()
        self._past = mask and Past(mask, self._targets, self._points, comm, systems)
        self._ranks.accept(self._past.problem if self._past else None)
        given = self._targets, self._points, space, tolerance, comm, backend, systems, self._past

        def sums_of_heads() -> list[SumsOfHead]:
            return [sums_of_head(law, head, *given) for head in heads.values()]

        # Of systems, a rank chooses backends for its own.
        shared = systems is None
        self._heads = sums_of_heads() if shared else self._ranks.of_each(sums_of_heads, ValueError)
        self._values = [head.matrices[2] for head in heads.values()]
        # Whether each measure is one of all ranks.
        self._is_shared = shared
        #: Of all ranks.
        self._systems = 1 if systems is None else comm.allreduce(systems)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Which backend serves each head, and why."""
        return tuple(head.plan for head in self._heads)

    @property
    def iterations(self) -> int:
        """Sinkhorn's iterations in the last call, of all heads; 0 for other laws."""
        return sum(head.iterations for head in self._heads)

    @property
    def potentials(self) -> list[Array | None]:
        """Sinkhorn's g at the points after a call, ``shape=(n,)``, a head each; or None."""
        return [head.potential for head in self._heads]

    def matrix(self, weights: Array) -> Array:
        """The attention matrix P of every head, dense. Collective; arguments as for a call.

        P_ij is w_j k(x_i, y_j), divided by Z(x_i) in a normalised law, whose rows then add up to 1.
        Of causal attention w_j are the weights of mu_i; the row of a target that sees no mass is 0.

        Returns:
            This rank's rows, and a column for each point of all ranks in their order,
            ``shape=(h, m, n)``; of several systems, for each point of the row's own, and of none
            ``shape=(h, 0, 0)``.
        """
        self(weights)
        weights = as_real(weights)
        if self._past is None:
            return np.stack([head.matrix(weights) for head in self._heads])
        weights = self._past.decayed(weights)
        matrices = np.stack([head.matrix(weights) for head in self._heads])
        divisors = self._past.divisors(self._past.masses(weights), self._law.normalised)
        return matrices / divisors[:, None]

    def __call__(self, weights: Array) -> Field:
        """Evaluate for one set of weights, this rank's share, ``shape=(n,)``. Collective.

        Sinkhorn's iteration starts from the potential of the last call.

        Raises:
            ValueError: On every rank, if the shape is wrong or a weight is not finite.
            AttentionDomainError: See ``Attention.velocity``.
        """
        return self.field(*self.sums(weights))

    def field(self, heads: list[Sums], mass: float) -> Field:
        """The field that ``sums`` make. Collective; errors of a domain as for a call."""
        parts = (
            applied(value, self._mean(sums))
            for value, sums in zip(self._values, heads, strict=True)
        )
        velocity = reduce(np.add, chain(parts, self._drifting))
        return Field(
            self._space.tangent(self._targets, velocity, out=velocity),
            np.stack([sums.partition for sums in heads]),
            np.stack([sums.log_scale for sums in heads]),
            mass,
        )

    def sums(self, weights: Array) -> tuple[list[Sums], float]:
        """The sums of every head, whatever their signs and sizes, and the sum of |w|.

        Collective; arguments and errors as for a call, but for those of a domain.
        """
        weights = as_real(weights)
        mass = self._total(weights)
        if mass == 0:
            raise AttentionDomainError(
                "attention: there is no mass: all weights are zero, and Z is not positive"
            )
        if self._past is None:
            return self._sums_of_all(weights), mass / self._systems
        weights = self._past.decayed(weights)
        given = self._past.masses(weights), self._law.normalised, self._relative
        return [self._past.of_mass_one(head(weights), *given) for head in self._heads], 1.0

    def _sums_of_all(self, weights: Array) -> list[Sums]:
        """The sums of every head over all points. Collective."""
        if self._is_shared or not self._law.weighs_points:
            return [head(weights) for head in self._heads]
        # Each rank iterates for its own systems.
        return self._ranks.of_each(
            lambda: [head(weights) for head in self._heads], AttentionDomainError
        )

    def warm(self, earlier: Evaluator | None) -> None:
        """Start Sinkhorn's iteration from the potentials of an evaluator of as many points.

        None forgets every earlier call: the next one depends on its weights alone.

        Raises:
            ValueError: If the other one has other numbers of points or heads.
        """
        potentials = [None] * len(self._heads) if earlier is None else earlier.potentials
        if earlier is not None and (
            len(potentials) != len(self._heads) or len(earlier._points) != len(self._points)
        ):
            raise ValueError("warm: the earlier evaluator has other numbers of points or heads")
        for head, potential in zip(self._heads, potentials, strict=True):
            head.start_from(potential)

    def _mean(self, sums: Sums) -> Array:
        """Int y k mu(dy), or int (y-x) k mu(dy), divided by Z in a normalised law."""
        moment, partition = sums.moment, sums.partition
        if self._law.normalised:
            self._refuse(~(partition > 0), "Z is not positive; are weights negative?")
            mean, total = np.empty_like(self._targets), np.ones(len(partition))
            divide(*map(np.ascontiguousarray, (moment, partition)), mean)
        else:
            largest = np.maximum(np.abs(partition), np.abs(moment).max(axis=1, initial=0.0))
            with np.errstate(divide="ignore"):
                exponent = np.log(largest) + sums.log_scale
            what = "e^<Ax,y>" if self._law.kernel.exponential else "the sum of its kernel"
            self._refuse(exponent > _LARGEST_EXPONENT, f"{what} exceeds double precision")
            # In two steps: the scale may exceed double precision where the sums do not.
            half = np.exp(sums.log_scale / 2)
            mean, total = moment * half[:, None] * half[:, None], partition * half * half
        return mean - total[:, None] * self._targets if self._relative else mean

    def _refuse(self, undefined: npt.NDArray[np.bool_], reason: str) -> None:
        """Raise on every rank if the velocity is undefined at a target of any, and say where."""
        count = self.comm.allreduce(int(np.count_nonzero(undefined)))
        if count:
            first = int(np.argmax(undefined)) if undefined.any() else None
            where = None if first is None else f"target {first}, at {self._targets[first]}"
            found = self._ranks.first(where)
            raise AttentionDomainError(f"attention: {reason} (at {count} targets; first: {found})")

    def _total(self, weights: Array) -> float:
        """Sum of all ranks' |w|, once they are known to be good."""
        # A rank with a problem makes the sum nan: one reduction says it all.
        problem = problem_with_weights(weights, len(self._points), self._past is not None)
        total = self.comm.allreduce(np.nan if problem else float(np.abs(weights).sum()))
        if np.isnan(total):
            self._ranks.accept(problem)
        return total

    @cached_property
    def _drifting(self) -> list[Array]:
        """The drift's velocity at the targets, ``shape=(m, d)``; no entry where there is none."""
        return [self._drift.velocity(self._targets)] if self._drift else []
