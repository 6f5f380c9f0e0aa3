"""Explicit Runge-Kutta methods, given by their tableaus.

For u' = F(u, t), with k_i = F(u_i, t + c_i dt),

    u_i = u_0 + dt sum_{j<i} a_ij k_j,    u = u_0 + dt sum_i b_i k_i,    c_i = sum_j a_ij.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meanformer.arrays import Array
from meanformer.integrators.stepper import Rate, Step, Tendency


@dataclass(frozen=True)
class ExplicitIntegrator:
    """An integrator in the form above.

    Attributes:
        name: Its usual name.
        order: Order of accuracy.
        rows: a, the i-th row with the i entries left of the diagonal.
        weights: b.
    """

    name: str
    order: int
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    def step(
        self, state: Array, time: float, dt: float, first: Rate, *, tendency: Tendency
    ) -> Step:
        """One step of ``tendency``, see ``Stepper``."""
        rates = self.rates(state, time, dt, first, tendency)
        after = moved(state, dt, self.weights, rates)
        outflow = dt * sum(b * rate.outflow for b, rate in zip(self.weights, rates, strict=True))
        return Step(after, outflow)

    def rates(
        self, state: Array, time: float, dt: float, first: Rate, tendency: Tendency
    ) -> list[Rate]:
        """The k of one step, arguments as for ``step``."""
        rates = [first]
        for row in self.rows[1:]:
            stage = moved(state, dt, row, rates)
            rates.append(tendency(stage, time + dt * sum(row)))
        return rates


def combined(weights: Sequence[float], rates: Sequence[Rate]) -> Array:
    """The sum of changes times their weights."""
    total = weights[0] * rates[0].change
    for weight, rate in zip(weights[1:], rates[1:], strict=True):
        if weight:
            total += weight * rate.change
    return total


def moved(state: Array, dt: float, weights: Sequence[float], rates: Sequence[Rate]) -> Array:
    """The state plus dt times the sum of changes times their weights."""
    total = combined(weights, rates)
    total *= dt
    total += state
    return total


#: Kutta, Z. Math. Phys. 46 (1901).
RK4 = ExplicitIntegrator(
    "classical Runge-Kutta",
    4,
    ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
)
