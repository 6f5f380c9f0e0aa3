r"""Exact solutions of the mean-field equation, against which solvers are verified.

- On S^1 and S^2 at beta = 0 with V a multiple of the identity, the Poisson kernel keeps its form.
- In R^d normal distributions stay normal under softmax, with any number of heads, l2, sinkhorn (A a
  multiple of the identity) and linear attention, with noise or without (arXiv 2501.18322).
- Linear attention without noise moves any measure by a matrix.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from meanformer.arrays import Array
from meanformer.attention.attention import Attention
from meanformer.attention.heads import Head
from meanformer.attention.matrices import multiple_of_identity
from meanformer.attention.measures import Gaussian, Measure, PoissonKernel, Uniform
from meanformer.attention.measures.image import LinearImage, Spread
from meanformer.attention.spaces import Euclidean, Sphere

_PRECISION = {"rtol": 1e-12, "atol": 1e-14, "method": "DOP853"}


def exact_solution(
    attention: Attention, start: Measure, time: float, temperature: float = 0.0
) -> Measure | None:
    """The measure at a time, where it is known.

    Args:
        attention: The model, constant in time.
        start: The measure at t = 0.
        time: t, not negative.
        temperature: kappa.

    Returns:
        The measure, or None where no formula here gives it.

    Raises:
        ArithmeticError: If the solution blows up before that time.
    """
    if attention.relative:
        return None
    if isinstance(start.space, Sphere):
        return _on_sphere(attention, start, time, temperature)
    if isinstance(start, Gaussian):
        moved = _flow_of_moments(attention, start.space.dimension, temperature)
        if moved is None:
            return None
        mean, covariance = start.moments()
        d = len(mean)
        state = _integrate(moved, np.concatenate([mean, covariance.ravel()]), time)
        covariance = state[d:].reshape(d, d)
        return Gaussian(tuple(state[:d]), tuple(map(tuple, (covariance + covariance.T) / 2)))
    if attention.law == "linear" and temperature == 0 and hasattr(start, "moments"):
        return _linear_image(attention, start, time)
    return None


def mean_length(radius: float, dimension: int) -> float:
    """|int x rho_a| of the Poisson kernel with |a| = radius on the circle or the sphere S^2."""
    r = radius
    if dimension == 2:
        return r
    if r < 1e-2:  # the closed form cancels: its series, to round-off
        terms = (r ** (2 * k - 1) / ((2 * k + 1) * (2 * k - 1) * (2 * k - 3)) for k in range(2, 6))
        return 4 * r / 3 - 4 * sum(terms)
    logarithm = (1 - r * r) ** 2 / (4 * r * r) * np.log1p(2 * r / (1 - r))
    return float((1 + r * r) / (2 * r) - logarithm)


def _on_sphere(
    attention: Attention, start: Measure, time: float, temperature: float
) -> Measure | None:
    values = [multiple_of_identity(head.matrices[2]) for head in attention.all_heads]
    known = attention.law in ("softmax", "unnormalised") and attention.beta == 0
    if not known or temperature > 0 or any(value is None for value in values):
        return None
    if isinstance(start, Uniform):
        return start
    if not isinstance(start, PoissonKernel):
        return None
    a, dimension = np.asarray(start.vector), start.space.dimension
    radius, speed = float(np.linalg.norm(a)), sum(value or 0.0 for value in values)
    if radius == 0:
        return start
    # r' = (1 - r^2) mhat(r) / 2 in the logarithm u of r / (1 - r^2)^{1/2}, which never reaches 1.
    u = np.log(radius / np.sqrt(1 - radius**2))

    def rate(_: float, u: Array) -> Array:
        r = 1 / np.sqrt(1 + np.exp(-2 * u[0]))
        return np.array([speed * mean_length(r, dimension) / (2 * r)])

    u = float(_integrate(rate, np.array([u]), time)[0])
    return PoissonKernel(tuple(a / radius / np.sqrt(1 + np.exp(-2 * u))))


def _flow_of_moments(
    attention: Attention, d: int, temperature: float
) -> Callable[[float, Array], Array] | None:
    """The rate of (m, S) of a normal distribution, ``shape=(d + d^2,)``; None if not known.

    The velocity is b + B x with B and b of every law: m' = b + B m, S' = B S + S B^T + 2 kappa I.
    """
    affine = {"softmax": _softmax, "l2": _l2, "linear": _linear, "sinkhorn": _sinkhorn}
    law = affine.get(attention.law)
    heads = [_Matrices(attention.beta, head, d) for head in attention.all_heads]
    if law is None:
        return None
    if attention.law == "sinkhorn" and any(
        multiple_of_identity(head.logits) is None for head in heads
    ):
        return None

    def rate(_: float, state: Array) -> Array:
        mean, covariance = state[:d], state[d:].reshape(d, d)
        parts = [law(head, mean, covariance) for head in heads]
        offset, slope = (np.sum(part, axis=0) for part in zip(*parts, strict=True))
        spread = slope @ covariance
        spread = spread + spread.T + 2 * temperature * np.eye(d)
        return np.concatenate([offset + slope @ mean, spread.ravel()])

    return rate


class _Matrices:
    """The matrices of a head, in full."""

    def __init__(self, beta: float, head: Head, d: int) -> None:
        query, key, self.value = (
            matrix if matrix.ndim else matrix * np.eye(d) for matrix in head.matrices
        )
        self.logits = beta * key.T @ query
        self.keys = beta * key.T @ key


def _softmax(head: _Matrices, mean: Array, covariance: Array) -> tuple[Array, Array]:
    """V (m + S A x)."""
    return head.value @ mean, head.value @ covariance @ head.logits


def _l2(head: _Matrices, mean: Array, covariance: Array) -> tuple[Array, Array]:
    """V (1 + 2 S K^T K)^{-1} (m + 2 S K^T Q x), beta in the products: completed squares."""
    factor = head.value @ np.linalg.inv(np.eye(len(mean)) + 2 * covariance @ head.keys)
    return factor @ mean, 2 * factor @ covariance @ head.logits


def _linear(head: _Matrices, mean: Array, covariance: Array) -> tuple[Array, Array]:
    """V (S + m m^T) A x."""
    moments = covariance + np.multiply.outer(mean, mean)
    return np.zeros_like(mean), head.value @ moments @ head.logits


def _sinkhorn(head: _Matrices, mean: Array, covariance: Array) -> tuple[Array, Array]:
    """V (m + C S^{-1} (x - m)), C the covariance of the coupling: a C^2 + C = a S^2 at A = a I."""
    a = float(np.trace(head.logits)) / len(mean)
    variances, axes = np.linalg.eigh(covariance)
    # c / s of each axis, c = (sqrt(1 + 4 a^2 s^2) - 1) / 2 a without cancellation
    share = 2 * a * variances / (1 + np.sqrt(1 + 4 * (a * variances) ** 2))
    slope = head.value @ (axes * share) @ axes.T
    return head.value @ mean - slope @ mean, slope


def _linear_image(attention: Attention, start: Measure, time: float) -> Measure:
    """The image under x(t) = M x(0), M' = sum_h V_h (M M0 M^T) A_h M, M0 the second moments."""
    assert isinstance(start.space, Euclidean)
    source: Spread = start  # type: ignore[assignment]
    d = start.space.dimension
    mean, covariance = source.moments()
    moments = covariance + np.multiply.outer(mean, mean)
    heads = [_Matrices(attention.beta, head, d) for head in attention.all_heads]

    def rate(_: float, flat: Array) -> Array:
        matrix = flat.reshape(d, d)
        moved = matrix @ moments @ matrix.T
        rates = [head.value @ moved @ head.logits @ matrix for head in heads]
        return np.sum(rates, axis=0).ravel()

    return LinearImage(source, _integrate(rate, np.eye(d).ravel(), time).reshape(d, d))


def _integrate(rate: Callable[[float, Array], Array], start: Array, time: float) -> Array:
    """The solution of an ordinary differential equation at a time, to round-off."""
    if time == 0:
        return start
    with np.errstate(over="ignore", invalid="ignore"):
        solution = solve_ivp(rate, (0.0, time), start, **_PRECISION)
    end: Array = solution.y[:, -1]
    if not solution.success or not np.all(np.isfinite(end)):
        raise ArithmeticError(f"the exact solution does not reach t = {time:g}: it blows up")
    return end
