"""The token solver: interacting particles moved by the attention of their own measure."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Attention, Evaluator, Field, Model, Space
from meanformer.attention.variance import largest_variance
from meanformer.integrators.explicit import RK4
from meanformer.integrators.stepper import Rate
from meanformer.integrators.steps import equal_steps

# The automatic step is this share of the time in which velocities change, 1/|Dv|.
_COURANT = 0.2


class TokenSolver:
    """Solve x_i' = v[mu_n](x_i), mu_n = (1/n) sum_j delta_{x_j}, distributed over ranks.

    The classical fourth-order Runge-Kutta method for the field extended from the sphere by
    v(x/|x|), which keeps |x|; every step ends on the sphere again.

    Args:
        points: This rank's tokens, ``shape=(n_local, d)``, in the space.
        attention: The model, which may change with time.
        space: Where the tokens live.
        comm: The ranks that share the tokens.
        step: A fixed time step, or None for one chosen by ``Attention.rate_bound``.

    Attributes:
        number: Tokens on all ranks.
        numbers: Global numbers of this rank's tokens, ``shape=(n_local,)``.
        points: This rank's tokens, ``shape=(n_local, d)``.
        weights: 1/number for each, ``shape=(n_local,)``.
        time: Time reached, dimensionless.
        steps: Steps taken.
        automatic_step: The longest step that ``Attention.rate_bound`` allowed when the last one
            began, whatever ``step`` is; infinite before the first.
        wall_time: Seconds spent in "attention".

    Raises:
        ValueError: On every rank, if there is no token, tokens of any rank are not in the space,
            or the step is not positive.
    """

    def __init__(
        self,
        points: Array,
        attention: Model,
        space: Space,
        comm: MPI.Intracomm,
        step: float | None = None,
    ) -> None:
        """Take the initial positions. Collective."""
        self.comm, self.space = comm, space
        self.points = np.ascontiguousarray(points, dtype=float)
        if step is not None and not step > 0:
            raise ValueError(f"tokens: step is {step}; it must be positive")
        fits = self.points.ndim == 2 and self.points.shape[1] == space.dimension
        if not comm.allreduce(fits, op=MPI.LAND):
            raise ValueError(f"tokens: points must have shape (n, {space.dimension})")
        if not comm.allreduce(space.holds(self.points), op=MPI.LAND):
            raise ValueError("tokens: points must be unit vectors")
        counts = comm.allgather(len(points))
        self.number, first = sum(counts), sum(counts[: comm.rank])
        self.numbers = first + np.arange(len(points))
        if self.number == 0:
            raise ValueError("tokens: there must be at least one")
        self.weights = np.full(len(points), 1 / self.number)
        self.time, self.steps, self.automatic_step = 0.0, 0, np.inf
        self.wall_time = {"attention": 0.0}
        self._attention, self._fixed_step = attention, step
        self._evaluator: Evaluator | None = None
        self._present: tuple[Array, Array, float] | None = None

    def velocity(self) -> Array:
        """The velocity at the present tokens, ``shape=(n_local, d)``. Collective.

        The next step starts from it: it is evaluated once.

        Raises:
            AttentionDomainError: If it is undefined at a token.
        """
        return self._start()[0]

    def mass(self) -> float:
        """Sum of the weights over all ranks; nan if a token is not finite. Collective."""
        share = float(self.weights.sum()) if np.all(np.isfinite(self.points)) else np.nan
        return float(self.comm.allreduce(share))

    def arrays(self) -> dict[str, Array]:
        """What a solver of the same problem needs to go on; rows go with ``numbers``."""
        numbers = {"time": np.array(self.time), "steps": np.array(self.steps)}
        return {"points": self.points} | numbers

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from what ``arrays`` gave, with this rank's rows by ``numbers``."""
        self.points = arrays["points"]
        self.time, self.steps = float(arrays["time"]), int(arrays["steps"])

    def step(self, until: float) -> None:
        """Take one time step, which ends at ``until`` or before. Collective.

        Raises:
            AttentionDomainError: If the velocity is undefined at a token.
            StepTooSmallError: If the step is too small to go on.
        """
        start, until = self.time, min(until, self._attention.next_change(self.time))
        model = self._attention.during(start)
        first, rate = self._start()
        remaining = until - self.time
        fastest = float(self.comm.allreduce(rate, op=MPI.MAX))
        self.automatic_step = _COURANT / fastest if fastest > 0 else np.inf
        count = equal_steps(remaining, self._fixed_step or self.automatic_step)
        dt = remaining / count
        step = RK4.step(
            self.points, start, dt, Rate(first),
            tendency=lambda points, time: Rate(self._field(model.at(time), points).velocity),
        )  # fmt: skip
        self.points = self.space.retract(step.after)
        self.steps += 1
        self.time = until if count == 1 else self.time + dt
        self._present = None

    def _start(self) -> tuple[Array, float]:
        """Velocity at the present tokens, and a bound of its derivative; evaluated once."""
        if self._present is None or self._present[0] is not self.points:
            # Without the potentials of earlier steps: a step depends on the tokens alone.
            self._evaluator = None
            attention = self._attention.during(self.time).at(self.time)
            field = self._field(attention, self.points)
            central = attention.normalised
            x = self.space.retract(self.points)
            spread = largest_variance(x, self.weights, self.space, self.comm, central)
            self._present = self.points, field.velocity, attention.rate_bound(field, spread)
        return self._present[1:]

    def _field(self, attention: Attention, points: Array) -> Field:
        """What attention says at the points brought to the space."""
        began = perf_counter()
        x = self.space.retract(points)
        evaluator = attention.prepare(x, x, self.space, comm=self.comm)
        evaluator.warm(self._evaluator)
        field = evaluator(self.weights)
        self._evaluator = evaluator
        self.wall_time["attention"] += perf_counter() - began
        return field
