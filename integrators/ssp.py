"""Strong-stability-preserving Runge-Kutta methods as convex combinations of Euler steps.

All of them are written with Euler steps E(u) = u + (dt/c) F(u), c the SSP coefficient: stage k
forms E_k = E(u_k), and the next u is a convex combination of the start u_0 and the E_k so far.
Whatever holds for a limited Euler step and for convex combinations then holds for the whole step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from meanformer.arrays import Array
from meanformer.integrators.stepper import Rate, Step, Tendency


@dataclass(frozen=True)
class SSPIntegrator:
    """An integrator in the form above.

    Attributes:
        name: Its usual name.
        order: Order of accuracy.
        coefficient: The SSP coefficient c.
        rows: For each stage, the weight of u_0 and the weights {k: w} of the E_k.
    """

    name: str
    order: int
    coefficient: float
    rows: tuple[tuple[float, dict[int, float]], ...]

    def step(
        self,
        state: Array,
        time: float,
        dt: float,
        first: Rate,
        *,
        tendency: Tendency,
        limit: Callable[[Array], int],
    ) -> Step | None:
        """One step of ``tendency``, see ``Stepper``.

        ``limit`` limits an Euler step in place, and says how often it could not on this rank.
        """
        length = dt / self.coefficient
        # The time that has passed, and what has left, move by the same combinations.
        stage, passed = state, np.zeros(2)
        moved: list[Array] = []
        moved_passed: list[Array] = []
        refused = 0
        for number, row in enumerate(self.rows):
            rate = tendency(stage, time + passed[0]) if number else first
            moved.append(stage + length * rate.change)
            moved_passed.append(passed + length * np.array([1.0, rate.outflow]))
            refused += limit(moved[-1])
            stage = _mean(row, state, moved)
            passed = _mean(row, np.zeros(2), moved_passed)
            del rate  # its memory is that of the next one
        return None if refused else Step(stage, passed[1])


def _mean(row: tuple[float, dict[int, float]], start: Array, moved: list[Array]) -> Array:
    """The convex combination of the start and the Euler steps so far, by a row."""
    start_weight, mix = row
    if mix == {len(moved) - 1: 1.0}:
        return moved[-1]
    state = start_weight * start
    for k, weight in mix.items():
        state += weight * moved[k]
    return state


def _chain(first: int, count: int) -> tuple[tuple[float, dict[int, float]], ...]:
    """Stages first, first+1, ... that each take the Euler step as it is."""
    return tuple((0.0, {k: 1.0}) for k in range(first, first + count))


EULER = SSPIntegrator("forward Euler", 1, 1.0, _chain(0, 1))
#: Shu & Osher, J. Comput. Phys. 77 (1988).
SSPRK22 = SSPIntegrator("SSPRK(2,2)", 2, 1.0, (*_chain(0, 1), (1 / 2, {1: 1 / 2})))
#: Kraaijevanger, BIT 31 (1991).
SSPRK43 = SSPIntegrator("SSPRK(4,3)", 3, 2.0, (*_chain(0, 2), (2 / 3, {2: 1 / 3}), *_chain(3, 1)))
_TEN_STAGES = (*_chain(0, 4), (3 / 5, {4: 2 / 5}), *_chain(5, 4), (1 / 25, {4: 9 / 25, 9: 3 / 5}))
#: Ketcheson, SIAM J. Sci. Comput. 30 (2008).
SSPRK104 = SSPIntegrator("SSPRK(10,4)", 4, 6.0, _TEN_STAGES)

#: The integrator of order p + 1 that goes with a spatial degree p.
BY_DEGREE = {0: EULER, 1: SSPRK22, 2: SSPRK43, 3: SSPRK104}
