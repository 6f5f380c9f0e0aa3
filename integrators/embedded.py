"""Explicit Runge-Kutta methods with an estimate of their error, and states inside a step.

A second set of weights gives a solution of lower order; the difference is the estimate. With k_i
and u_0 as in ``explicit``, the state a share s of the step after its start is

    u(s) = u_0 + dt sum_i b_i(s) k_i,    b_i(s) = sum_j d_ij s^(j+1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meanformer.arrays import Array
from meanformer.integrators.explicit import ExplicitIntegrator, combined, moved
from meanformer.integrators.stepper import Rate


@dataclass(frozen=True)
class EmbeddedIntegrator(ExplicitIntegrator):
    """An explicit integrator whose last rate is that at the end of the step.

    Attributes:
        differences: b less the weights of the embedded method.
        dense: d, a row for each rate.
    """

    differences: tuple[float, ...]
    dense: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, eq=False)
class DenseStep:
    """A step of an embedded integrator, with all that follows from its rates.

    Attributes:
        integrator: Whose step it is.
        before: The state at its start.
        start: When it starts.
        length: dt.
        rates: The k.
    """

    integrator: EmbeddedIntegrator
    before: Array
    start: float
    length: float
    rates: Sequence[Rate]

    def after(self) -> Array:
        """The state at the end."""
        return moved(self.before, self.length, self.integrator.weights, self.rates)

    def error(self) -> Array:
        """The estimated error of the state at the end, of the state's shape."""
        return self.length * combined(self.integrator.differences, self.rates)

    def at(self, time: float) -> Array:
        """The state at a time from the start to the end, to fourth order."""
        share = (time - self.start) / self.length
        weights = [
            share * (a + share * (b + share * (c + share * d)))
            for a, b, c, d in self.integrator.dense
        ]
        return moved(self.before, self.length, weights, self.rates)


_LAST = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
#: Dormand and Prince, J. Comput. Appl. Math. 6 (1980); dense output: Shampine, Math. Comp. 46
#: (1986).
DORMAND_PRINCE = EmbeddedIntegrator(
    "Dormand-Prince 5(4)",
    5,
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _LAST,
    ),
    (*_LAST, 0.0),
    (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
    (
        (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
        (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
        (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
        (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
        (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
    ),
)
