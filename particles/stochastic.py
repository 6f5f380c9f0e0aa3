"""Steps of tokens with noise, of second order in law."""

from __future__ import annotations

from collections.abc import Callable

from meanformer.arrays import Array
from meanformer.attention import Model, Space
from meanformer.attention.rescaled import RescaledLayer
from meanformer.normals import normal_numbers
from meanformer.particles.bounded import BoundedSteps
from meanformer.particles.brownian import brownian_step
from meanformer.particles.equation import TokenEquation

# Which of the streams of a seed this is: its first, without a key, draws the tokens at the start.
_STREAM = 1


class StochasticSteps(BoundedSteps):
    """Steps of Heun's method with noise, no longer than the time in which velocities change.

    Noise, too, sets how long they are: see ``TokenEquation.rate_and_bound``. Each step's random
    numbers are those of its number.

    Args:
        equation: What moves the tokens, with kappa > 0.
        length: Of a step, or None for one by the bound.
        first: Global number of this rank's first token; the others follow.
        seed: Of the random numbers.
        system: Which of several systems with this seed.
    """

    def __init__(
        self, equation: TokenEquation, length: float | None, first: int, seed: int, system: int
    ) -> None:
        super().__init__(equation, length)
        self._first, self._seed, self._system = first, seed, system

    def _after(
        self, state: Array, time: float, dt: float, first: Array, layer: Model | RescaledLayer
    ) -> Array:
        equation = self._equation
        space = equation.space
        count, dimension = state.shape
        key = _STREAM, self._system, self.steps
        normals = normal_numbers(self._first, count, dimension, self._seed, key)
        return heun_step(
            state,
            dt,
            first,
            rate=lambda u: equation.rate(u, time + dt, layer),
            diffuse=lambda u: brownian_step(u, normals, equation.temperature * dt, space),
            space=space,
        )


def heun_step(
    state: Array,
    dt: float,
    first: Array,
    rate: Callable[[Array], Array],
    diffuse: Callable[[Array], Array],
    space: Space,
) -> Array:
    """One step of dX = v dt + sqrt(2 kappa) dW, with means of smooth functions of second order.

    With B Brownian motion for the time h and R the retraction,

        y = B(R(x + h/2 v(x))),    x' = R(y + h/2 v(R(y + h/2 v(x)))).

    In R^d that is Heun's method, x' = x + h/2 (v(x) + v(x + h v(x) + dW)) + dW (Kloeden and Platen,
    Numerical Solution of Stochastic Differential Equations, section 15.1, for additive noise). On a
    sphere it is Strang's splitting: v for h/2 by explicit Euler, noise for h, v for h/2 by implicit
    Euler. The errors of the two Euler steps are opposite up to O(h^3). That the predictor takes
    v(x) for v(y) changes x' by O(h^{5/2}), and means by O(h^3).

    Args:
        state: x, ``shape=(n, d)``.
        dt: h, positive.
        first: v(x), ``shape=(n, d)``.
        rate: Gives v at the end of the step, of ``shape=(n, d)``.
        diffuse: B.
        space: Where tokens live.
    """
    noisy = diffuse(space.retract(state + dt / 2 * first))
    predicted = space.retract(noisy + dt / 2 * first)
    return space.retract(noisy + dt / 2 * rate(predicted))
