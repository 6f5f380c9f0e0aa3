"""Attention prepared for fixed points: arguments checked, heads added, domains guarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, reduce
from itertools import chain
from numbers import Integral, Real
from typing import NamedTuple, get_args

from meanformer.mpi import MPI

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.attention.backends.backend import AttentionDomainError, Sums
from meanformer.attention.backends.causal.past import Mask, Past
from meanformer.attention.backends.plan import Choice, Name, Plan
from meanformer.attention.drift import Drift
from meanformer.attention.head_sums import sums_of_head
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

_NO_NUMBERS = (0, 0, 0)
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
        # Ranks must agree on this and on the options: what comes is collective.
        same = comm.allreduce(targets is points, op=MPI.LAND)
        self._agree(_problem_with_options(tolerance, backend))
        # Numbers of systems may differ, but not whether there are any.
        options = float(tolerance), backend, systems is None
        first = comm.bcast(options, root=0)
        differ = f"tolerance, backend, 'systems is None' are {options}, but {first} on rank 0"
        self._agree(None if options == first else differ)
        self._points = _as_real(points)
        self._targets = self._points if same else _as_real(targets)
        self._agree(
            self._problem_with("targets", self._targets)
            or self._problem_with("points", self._points)
            or self._problem_with_systems(systems, heads)
            or self._problem_with_heads(heads)
            or self._problem_with_drift()
        )
        # Lengths off by what ``holds`` lets pass would move the logits by 1e-6 |beta|.
        self._points = space.retract(self._points)
        self._targets = self._points if same else space.retract(self._targets)
        if not isinstance(space, Sphere):  # not the caller's own arrays, which may change
            self._points = self._points.copy()
            self._targets = self._points if same else self._targets.copy()
        self._past = mask and Past(mask, self._targets, self._points, comm, systems)
        self._agree(self._past.problem if self._past else None)
        given = self._targets, self._points, space, tolerance, comm, backend, systems, self._past
        self._heads = [sums_of_head(law, head, *given) for head in heads.values()]
        self._values = [head.matrices[2] for head in heads.values()]
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
            ``shape=(h, m, n)``; of several systems, for each point of the row's own.
        """
        self(weights)
        weights = _as_real(weights)
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
        return Field(
            self._space.tangent(self._targets, reduce(np.add, chain(parts, self._drifting))),
            np.stack([sums.partition for sums in heads]),
            np.stack([sums.log_scale for sums in heads]),
            mass,
        )

    def sums(self, weights: Array) -> tuple[list[Sums], float]:
        """The sums of every head, whatever their signs and sizes, and the sum of |w|.

        Collective; arguments and errors as for a call, but for those of a domain.
        """
        weights = _as_real(weights)
        mass = self._total(weights)
        if mass == 0:
            raise AttentionDomainError(
                "attention: there is no mass: all weights are zero, and Z is not positive"
            )
        if self._past is None:
            return [head(weights) for head in self._heads], mass / self._systems
        weights = self._past.decayed(weights)
        given = self._past.masses(weights), self._law.normalised, self._relative
        return [self._past.of_mass_one(head(weights), *given) for head in self._heads], 1.0

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
            found = self._first(where)
            raise AttentionDomainError(f"attention: {reason} (at {count} targets; first: {found})")

    def _total(self, weights: Array) -> float:
        """Sum of all ranks' |w|, once they are known to be good."""
        # A rank with a problem makes the sum nan: one reduction says it all.
        problem, mine = None, np.nan
        if weights.shape == _NO_NUMBERS:
            problem = "weights must be real numbers"
        elif weights.shape != self._points.shape[:1]:
            problem = f"weights have shape {weights.shape}; expected {self._points.shape[:1]}"
        elif not np.isfinite(sum_ := np.abs(weights).sum()) and not np.all(np.isfinite(weights)):
            first = int(np.argmin(np.isfinite(weights)))
            problem = f"weights[{first}] is {weights[first]}; weights must be finite"
        elif self._past is not None and weights.min(initial=0.0) < 0:
            first = int(np.argmin(weights))
            problem = f"weights[{first}] is {weights[first]}; must not be negative where causal"
        else:
            mine = float(sum_)
        total = self.comm.allreduce(mine)
        if np.isnan(total):
            self._agree(problem)
        return total

    def _problem_with(self, name: str, array: Array) -> str | None:
        d = self._space.dimension
        if array.shape == _NO_NUMBERS:
            return f"{name} must be real numbers"
        if array.ndim != 2 or array.shape[1] != d:
            return f"{name} have shape {array.shape}; expected (n, {d})"
        good: Callable[[Array], bool]
        for good, what in ((_is_finite, "finite"), (self._space.holds, "a unit vector")):
            if not good(array):
                first = next(i for i in range(len(array)) if not good(array[i : i + 1]))
                return f"{name}[{first}] is {array[first]}; must be {what}"
        return None

    def _problem_with_heads(self, heads: Mapping[str, Head]) -> str | None:
        problems = ((name, head.problem_in(self._space.dimension)) for name, head in heads.items())
        return next((f"{name}{problem}" for name, problem in problems if problem), None)

    def _problem_with_systems(self, systems: int | None, heads: Mapping[str, Head]) -> str | None:
        stacks = {name: len(v) for name, h in heads.items() if (v := h.matrices[2]).ndim == 3}
        for name, count in stacks.items():
            if count != systems:
                return f"{name}value is one of {count} systems; expected {systems}"
        if systems is None:
            return None
        if not (isinstance(systems, Integral) and systems >= 0):
            return f"systems is {systems!r}; must be None or a number of systems"
        for name, rows in (("targets", self._targets), ("points", self._points)):
            if len(rows) % max(systems, 1) or (len(rows) and not systems):
                return f"{name} have {len(rows)} rows; must be as many in each of {systems} systems"
        return None

    def _problem_with_drift(self) -> str | None:
        problem = self._drift and self._drift.problem_in(self._space.dimension)
        return f"drift: {problem}" if problem else None

    @cached_property
    def _drifting(self) -> list[Array]:
        """The drift's velocity at the targets, ``shape=(m, d)``; no entry where there is none."""
        return [self._drift.velocity(self._targets)] if self._drift else []

    def _agree(self, problem: str | None) -> None:
        """Raise on every rank what went wrong on any."""
        found = self._first(problem)
        if found is not None:
            raise ValueError(f"attention: {found}")

    def _first(self, message: str | None) -> str | None:
        """The message of the first rank that has one; ranks are named if there are several."""
        if self.comm.size == 1:
            return message
        messages = enumerate(self.comm.allgather(message))
        return next((f"{text} (on rank {rank})" for rank, text in messages if text), None)


def _problem_with_options(tolerance: object, backend: object) -> str | None:
    """What is wrong with the options of an evaluation, if anything."""
    if not (isinstance(tolerance, Real) and float(tolerance) > 0):
        return f"tolerance is {tolerance!r}; it must be positive"
    allowed = ("auto", *get_args(Name))
    return None if backend in allowed else f"backend is {backend!r}; allowed: {', '.join(allowed)}"


def _is_finite(array: Array) -> bool:
    return bool(np.all(np.isfinite(array)))


def _as_real(given: npt.ArrayLike) -> Array:
    """An array of real numbers; one of the shape ``_NO_NUMBERS``, which fits nowhere, if none."""
    try:
        array = np.ascontiguousarray(given)
        return array.astype(float, casting="same_kind", copy=False)
    except (TypeError, ValueError):
        return np.empty(_NO_NUMBERS)
