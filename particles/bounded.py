"""Steps of tokens no longer than the time in which velocities change, or of a fixed length."""

from __future__ import annotations

from collections.abc import Mapping

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Model
from meanformer.attention.rescaled import RescaledLayer
from meanformer.integrators.explicit import RK4
from meanformer.integrators.stepper import Rate
from meanformer.integrators.steps import equal_steps
from meanformer.particles.equation import TokenEquation

# The automatic step is this share of the time in which velocities change, 1/|Dv|.
_COURANT = 0.2


class BoundedSteps:
    """Steps of the classical fourth-order Runge-Kutta method.

    Args:
        equation: What moves the tokens.
        length: Of a step, or None for one by ``TokenEquation.rate_and_bound``.

    Attributes:
        steps: Steps taken.
        refused: None ever is.
        length: The longest step that the bound allowed when the last one began, whatever is taken;
            infinite before the first.
    """

    refused = 0

    def __init__(self, equation: TokenEquation, length: float | None) -> None:
        self.steps, self.length = 0, np.inf
        self._equation, self._fixed = equation, length

    def go_on(self, state: Array, time: float, until: float) -> tuple[Array, float]:
        """The state at the end of a step, which is ``until`` or before. Collective.

        Args:
            state: At ``time``, ``shape=(n_local, d)``.
            time: When the step starts.
            until: A later time.

        Raises:
            StepTooSmallError: If the step is too small to go on.
        """
        equation = self._equation
        until = min(until, equation.model.next_change(time))
        layer = equation.model.during(time)
        first, bound = equation.rate_and_bound(state, time)
        fastest = float(equation.comm.allreduce(bound, op=MPI.MAX))
        self.length = _COURANT / fastest if fastest > 0 else np.inf
        count = equal_steps(until - time, self._fixed or self.length)
        dt = (until - time) / count
        after = self._after(state, time, dt, first, layer)
        self.steps += 1
        return after, until if count == 1 else time + dt

    def arrays(self, state: Array) -> dict[str, Array]:
        """Nothing: a step depends on the tokens alone."""
        return {}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take over the number of steps."""
        self.steps = int(arrays["steps"])

    def _after(
        self, state: Array, time: float, dt: float, first: Array, layer: Model | RescaledLayer
    ) -> Array:
        """The state after a step, from the rate at its start and the layer that holds in it."""
        equation = self._equation
        step = RK4.step(
            state, time, dt, Rate(first), tendency=lambda u, t: Rate(equation.rate(u, t, layer))
        )
        return equation.space.retract(step.after)
