"""The model of self-attention: laws, heads, and the velocity they give to a measure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import get_args

from meanformer.mpi import MPI

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.attention.backends.causal.past import Mask, problem_with_mask
from meanformer.attention.backends.direct.systems import apart
from meanformer.attention.backends.plan import Choice, Device, Plan
from meanformer.attention.drift import Drift
from meanformer.attention.evaluation.evaluator import Evaluator, Field
from meanformer.attention.heads import Head
from meanformer.attention.laws import LAWS, PARAMETERS, Law, LawName
from meanformer.attention.laws.hardmax import Hardmax
from meanformer.attention.laws.sigmoid import Sigmoid
from meanformer.attention.matrices import full, spectral_norms, sum_of
from meanformer.attention.spaces import Space


@dataclass(frozen=True, eq=False)
class Attention:
    r"""Self-attention with logits beta <Q x, K y> and values V y (arXiv 2305.05465, 2312.10794).

    The velocity that a measure mu gives to a token at x is, before projection on the tangent
    space, with A = beta K^T Q, so that <Ax, y> = beta <Qx, Ky>, and Z(x) = int e^{<Ax,y>} mu(dy),

    LAWS

    The velocities of several heads add, and so does that of a drift.

    Args:
        law: One of the above.
        beta: Inverse temperature, finite, dimensionless.
        query: Q: None (identity), a number (a multiple of it) or a matrix, ``shape=(r, d)``.
        key: K, likewise.
        value: V: None, a number or a matrix, ``shape=(d, d)``.
        heads: Several heads, in place of ``query``, ``key`` and ``value``.
        offset: c of the sigmoid law, finite, dimensionless.
        tie_tolerance: Points y with <Ax,y> within this times |Ax| max|y| of the maximum are
            maximisers, for the hardmax law. Not negative, dimensionless.
        relative: Values are V (y - x) in place of V y: mean shift, and what rescaled variables
            follow.
        drift: A velocity beside that of attention, which does not see the measure.
        causal: Whether targets see the points before them alone: with N points and M targets, both
            in the order of all ranks, target j = 0, ..., M-1 must be point N-M+j, and what it sees
            is the measure mu_j of the points up to this one, of mass 1. Points that come first and
            are no targets are a prompt. Not for sinkhorn.
        sees_itself: Whether causal targets see themselves, too. One that sees nothing rests, but
            for a drift.
        decay: lambda, of causal attention: the weights of mu_j fall like e^{-lambda (j-i) / N}
            with the distance in the order (ALiBi, arXiv 2605.09213). At most 300 in size: squares
            of e^lambda are then in double precision. Dimensionless.
        device: "cuda" takes the direct sums of d >= 8 to a GPU, by torch; "cpu" takes none there.

    Raises:
        ValueError: If an argument is not finite, or of a wrong kind or shape, or if the law has no
            causal form.
    """

    law: LawName = "softmax"
    beta: float = 1.0
    query: npt.ArrayLike | None = None
    key: npt.ArrayLike | None = None
    value: npt.ArrayLike | None = None
    heads: Sequence[Head] = ()
    offset: float = Sigmoid.offset
    tie_tolerance: float = Hardmax.tie_tolerance
    relative: bool = False
    drift: Drift | None = None
    causal: bool = False
    sees_itself: bool = True
    decay: float = 0.0
    device: Device = "cpu"

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.law not in LAWS:
            raise ValueError(f"law is {self.law!r}; allowed: {', '.join(LAWS)}")
        if self.device not in get_args(Device):
            raise ValueError(f"device is {self.device!r}; allowed: {', '.join(get_args(Device))}")
        for name in ("beta", *PARAMETERS):
            number = getattr(self, name)
            if not (isinstance(number, Real) and math.isfinite(number)):
                raise ValueError(f"{name} is {number}; it must be finite")
        for name, (_, field) in PARAMETERS.items():
            if getattr(self, name) < field.metadata.get("least", -math.inf):
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        self._check_mask()
        heads = tuple(self.heads) if isinstance(self.heads, Iterable) else (None,)
        if not all(isinstance(head, Head) for head in heads):
            raise ValueError("heads must be a sequence of Head")
        if not (self.drift is None or isinstance(self.drift, Drift)):
            raise ValueError("drift must be None or a Drift")
        object.__setattr__(self, "heads", heads)
        if heads and any(m is not None for m in (self.query, self.key, self.value)):
            raise ValueError("heads stand in place of query, key and value: give one or the other")
        head = Head(self.query, self.key, self.value)
        for name in ("query", "key", "value"):
            object.__setattr__(self, name, getattr(head, name))

    def _check_mask(self) -> None:
        if problem := problem_with_mask(self.causal, self.sees_itself, self.decay):
            raise ValueError(problem)
        if self.causal and not LAWS[self.law].has_causal_form:
            allowed = ", ".join(name for name, law in LAWS.items() if law.has_causal_form)
            raise ValueError(f"law is {self.law!r}, which has no causal form; allowed: {allowed}")

    @property
    def mask(self) -> Mask | None:
        """What targets see; None if they see all points."""
        return Mask(self.sees_itself, float(self.decay)) if self.causal else None

    @cached_property
    def all_heads(self) -> tuple[Head, ...]:
        """The heads; without ``heads``, the one of ``query``, ``key`` and ``value``."""
        return tuple(self.heads) or (Head(self.query, self.key, self.value),)

    def value_in(self, dimension: int) -> Array:
        """V, the sum over heads, in R^d: ``shape=(d, d)``."""
        return full(sum_of([head.matrices[2] for head in self.all_heads]), dimension)

    @property
    def energetic(self) -> bool:
        """Whether there is an interaction energy: of a law that has one, where all see all."""
        return self.rule.energetic and not self.causal

    @property
    def normalised(self) -> bool:
        """Whether the velocity is V times an average of the points."""
        return self.rule.normalised

    @cached_property
    def rule(self) -> Law:
        """The law with its parameters."""
        law = LAWS[self.law]
        return law(self.beta, *(getattr(self, field.name) for field in law.parameters()))

    def during(self, time: float) -> Attention:
        """The model from a time on: always this one. See ``Schedule`` for others."""
        return self

    def at(self, time: float) -> Attention:
        """The model at a time: always this one."""
        return self

    def next_change(self, time: float) -> float:
        """The next time at which the model changes: never."""
        return np.inf

    def for_systems(self, systems: range) -> Attention:
        """The model of several systems of tokens: this one for all."""
        return self

    def velocity(
        self,
        targets: Array,
        points: Array,
        weights: Array,
        space: Space,
        tolerance: float = 1e-10,
        comm: MPI.Comm | None = None,
        *,
        backend: Choice = "auto",
        systems: int | None = None,
    ) -> Array:
        """The velocity v[mu](x) of the measure mu = sum_j w_j delta_{y_j}, with the drift's.

        Collective over ``comm``.

        Args:
            targets: This rank's x, ``shape=(m, d)``.
            points: This rank's share of the y, ``shape=(n, d)``.
            weights: This rank's share of the w, ``shape=(n,)``. Slightly negative ones are
                allowed as long as Z > 0, but not in causal attention.
            space: ``Sphere(d)`` or ``Euclidean(d)``.
            tolerance: Error allowed in Z, relative, and in the average of y, relative to the
                largest |y| (in Euclidean space, about the middle of all points); where weights
                have both signs, times sum |w| k / |Z|. Round-off remains: about 1e-16 times the
                largest logit, and 1e-11 in sums by series.
            comm: The ranks over which the measure is distributed, or None.
            backend: "harmonic", "laplace", "direct" or "cuda" in place of the fastest (``plan``).
            systems: Rows of targets and points are those of as many systems on this rank, one after
                another, of equal numbers each. A system's targets see its own points alone, and
                the weights of each are a measure. None is one system on all ranks.

        Returns:
            Velocities tangent to the space, ``shape=(m, d)``, dimensionless.

        Raises:
            ValueError: On every rank, if on any rank shapes do not fit, a value is not finite, or
                a point is not in the space; or if the backend cannot serve.
            AttentionDomainError: On every rank, if there is no mass, if Z <= 0 at a target of a
                normalised law, if e^{<Ax,y>} overflows in the unnormalised law, or if Sinkhorn's
                iteration does not converge.
        """
        given = targets, points, weights, space, tolerance, comm
        return self.evaluate(*given, backend=backend, systems=systems).velocity

    def evaluate(
        self,
        targets: Array,
        points: Array,
        weights: Array,
        space: Space,
        tolerance: float = 1e-10,
        comm: MPI.Comm | None = None,
        *,
        backend: Choice = "auto",
        systems: int | None = None,
    ) -> Field:
        """The velocity with Z and log Z of every head. Arguments and errors as for ``velocity``."""
        given = targets, points, space, tolerance, comm
        return self.prepare(*given, backend=backend, systems=systems)(weights)

    def prepare(
        self,
        targets: Array,
        points: Array,
        space: Space,
        tolerance: float = 1e-10,
        comm: MPI.Comm | None = None,
        *,
        backend: Choice = "auto",
        systems: int | None = None,
    ) -> Evaluator:
        """Choose backends and prepare them for fixed targets and points.

        Collective over ``comm``. Arguments and errors as for ``velocity``.

        Returns:
            A callable that maps weights, ``shape=(n,)``, to a ``Field``.
        """
        heads = {f"heads[{i}].": head for i, head in enumerate(self.heads)}
        heads = heads or {"": self.all_heads[0]}
        if self.device == "cuda" and backend in ("auto", "direct"):
            backend = "cuda"
        return Evaluator(
            self.rule, heads, self.relative, self.drift, targets, points, space, tolerance, comm,
            backend, systems, self.mask,
        )  # fmt: skip

    def plan(
        self,
        targets: Array,
        points: Array,
        space: Space,
        tolerance: float = 1e-10,
        comm: MPI.Comm | None = None,
        *,
        backend: Choice = "auto",
        systems: int | None = None,
    ) -> tuple[Plan, ...]:
        """Which backend would evaluate each head, and why; prints well.

        Collective over ``comm``. Arguments and errors as for ``velocity``.
        """
        given = targets, points, space, tolerance, comm
        return self.prepare(*given, backend=backend, systems=systems).plans

    def rate_bound(self, field: Field, space: Space, spread: float = 1.0) -> float:
        """A bound of the velocity's derivative, as ``rate_bounds``, of a single measure."""
        return float(self.rate_bounds(field, space, np.array([spread]))[0])

    def rate_bounds(self, field: Field, space: Space, spreads: Array) -> Array:
        """A bound of the velocity's derivative on the unit sphere, for choosing time steps.

        An average v = V E[y] whose weights are e^{<Ax,y>} has the derivative V Cov[y] A, and
        projection adds 2 |v|, so that |Dv| <= |V| (|A| + 2); ``Law.rate`` and ``Law.size`` say what
        other laws make of it. In R^d, where no bound holds, |A| times the largest variance of the
        measure is an estimate, and 2 |V| leaves room for points that move with V. Of relative
        values, -Z V x adds 2 |V| under a normalised law, where Z is 1, and no more than the rest
        has under another. A drift adds its own bound (``Drift.rate``).

        Args:
            field: Values at this rank's targets, of one system after another.
            space: Where these are.
            spreads: The largest variance of each system, about the mean for a normalised law, else
                about the origin; 1 on the unit sphere; ``shape=(systems,)``.

        Returns:
            The bound over this rank's targets of each system, per unit of time,
            ``shape=(systems,)``.
        """
        rule, systems = self.rule, len(spreads)
        bounds = np.full(systems, self.drift.rate(space) if self.drift else 0.0)
        for head, *scaled in zip(self.all_heads, field.partition, field.log_scale, strict=True):
            size = rule.size(field.mass, *(apart(rows, systems) for rows in scaled))
            rates = rule.rate(head, spreads)
            if self.relative:
                rates = rates + (2.0 if rule.normalised else rates)
            bounds += spectral_norms(head.matrices[2]) * rates * size
        return bounds


Attention.__doc__ = str(Attention.__doc__).replace(
    "LAWS", "\n    ".join(f"* {name}: {law.summary()}" for name, law in LAWS.items())
)
