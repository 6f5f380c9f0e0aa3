r"""Implicit-explicit Runge-Kutta methods: transport by explicit, diffusion by implicit stages.

For u' = F(u, t) + G(u), with the same nodes and weights for both parts,

    u_i = u_0 + dt sum_{j<i} (a_ij F_j + b_ij G_j) + dt gamma G_i,    gamma = b_ii,
    u   = u_0 + dt sum_i w_i (F_i + G_i).

Sums a_i. and b_i. agree, so that a state with F + G = 0 stays. The implicit parts are L-stable and
stiffly accurate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from meanformer.arrays import Array
from meanformer.integrators.stepper import Rate, Step, Tendency


@dataclass(frozen=True, eq=False)
class ImexIntegrator:
    """A pair of Runge-Kutta methods.

    Attributes:
        name: Its usual name.
        order: Order of accuracy.
        explicit: a, strictly lower triangular, ``shape=(s, s)``.
        implicit: b, lower triangular, zero in the first row, ``shape=(s, s)``.
        weights: w, ``shape=(s,)``.
        courant: Longest step relative to that of an Euler step of transport.
    """

    name: str
    order: int
    explicit: Array
    implicit: Array
    weights: Array
    courant: float

    def step(
        self,
        state: Array,
        time: float,
        dt: float,
        first: Rate,
        *,
        tendency: Tendency,
        stiff: Callable[[Array], Array],
        solve: Callable[[Array, float], Array],
        limit: Callable[[Array], bool],
    ) -> Step | None:
        """One step of F, the ``tendency``, and G, which is ``stiff``; see ``Stepper``.

        ``solve`` solves u - length G(u) = known, of ``known`` and ``length``; ``limit`` limits a
        state in place, and says whether it could, the same on all ranks.
        """
        rates, stiff_rates = [first], [stiff(state)]
        for i in range(1, len(self.weights)):
            known = state.copy()
            for j in range(i):
                known += dt * self.explicit[i, j] * rates[j].change
                known += dt * self.implicit[i, j] * stiff_rates[j]
            length = dt * self.implicit[i, i]
            stage = solve(known, length)
            stiff_rates.append((stage - known) / length)
            if not limit(stage):
                return None
            rates.append(tendency(stage, time + dt * float(self.explicit[i].sum())))
        after = state.copy()
        for weight, rate, stiff_rate in zip(self.weights, rates, stiff_rates, strict=True):
            after += dt * weight * (rate.change + stiff_rate)
        outflow = dt * float(self.weights @ [rate.outflow for rate in rates])
        return Step(after, outflow) if limit(after) else None


def _giraldo() -> ImexIntegrator:
    root = np.sqrt(2.0)
    gamma, third = 1 - 1 / root, (3 + 2 * root) / 6
    weights = np.array([1 / (2 * root), 1 / (2 * root), gamma])
    explicit = np.array([[0, 0, 0], [2 * gamma, 0, 0], [1 - third, third, 0]])
    implicit = np.array([[0, 0, 0], [gamma, gamma, 0], weights])
    return ImexIntegrator("ARK2(3)", 2, explicit, implicit, weights, 1.0)


def _kennedy_carpenter() -> ImexIntegrator:
    gamma = 1767732205903 / 4055673282236
    explicit, implicit = np.zeros((4, 4)), np.zeros((4, 4))
    explicit[1, 0] = 1767732205903 / 2027836641118
    explicit[2, :2] = 5535828885825 / 10492691773637, 788022342437 / 10882634858940
    explicit[3, 0] = 6485989280629 / 16251701735622
    explicit[3, 1] = -4246266847089 / 9704473918619
    explicit[3, 2] = 10755448449292 / 10357097424841
    implicit[1, :2] = gamma, gamma
    implicit[2, :3] = 2746238789719 / 10658868560708, -640167445237 / 6845629431997, gamma
    implicit[3, 0] = 1471266399579 / 7840856788654
    implicit[3, 1] = -4482444167858 / 7529755066697
    implicit[3, 2:] = 11266239266428 / 11593286722821, gamma
    return ImexIntegrator("ARK3(2)4L[2]SA", 3, explicit, implicit, implicit[3], 2.0)


#: Giraldo, Kelly, Constantinescu, SIAM J. Sci. Comput. 35 (2013).
ARK2 = _giraldo()
#: Kennedy and Carpenter, Appl. Numer. Math. 44 (2003).
ARK3 = _kennedy_carpenter()

#: The integrator that goes with a spatial degree p.
BY_DEGREE = {1: ARK2, 2: ARK3, 3: ARK3}
