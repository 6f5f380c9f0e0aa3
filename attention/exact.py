r"""Exact solutions and velocities of the mean-field equation, which verify solvers.

- On S^1 and S^2 at beta = 0 with V a multiple of the identity, the Poisson kernel keeps its form.
- On spheres a linear drift alone carries the uniform density to angular central Gaussians.
- In R^d normal distributions stay normal under softmax, with any number of heads, l2, sinkhorn (A a
  multiple of the identity) and linear attention, with noise or without (arXiv 2501.18322), and
  with a linear drift beside it.
- Linear attention without noise moves any measure by a matrix, also beside a linear drift.
- Mixtures of normal distributions do not stay such; their velocity under softmax and l2 is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import softmax

from meanformer.arrays import Array
from meanformer.attention.attention import Attention
from meanformer.attention.heads import Head
from meanformer.attention.laws.base import Law
from meanformer.attention.matrices import multiple_of_identity
from meanformer.attention.measures import (
    AngularGaussian,
    Gaussian,
    Measure,
    Mixture,
    PoissonKernel,
    Uniform,
)
from meanformer.attention.measures.euclidean import LinearImage
from meanformer.attention.measures.measure import Spread
from meanformer.attention.spaces import Sphere

_LARGEST_CONDITION = 1e14
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
    drift = attention.drift.linear() if attention.drift else None
    if attention.relative or attention.causal or (attention.drift and drift is None):
        return None
    if isinstance(start.space, Sphere):
        if drift is not None:
            return _angular(attention, drift, start, time, temperature)
        return _on_sphere(attention, start, time, temperature)
    if isinstance(start, Gaussian):
        return _normal(attention, start, time, temperature)
    if attention.rule.moves_by_matrices and temperature == 0 and isinstance(start, Spread):
        return _linear_image(attention, start, time)
    return None


def exact_velocity(attention: Attention, measure: Measure, points: Array) -> Array | None:
    """The velocity at points of R^d over a mixture of normal distributions, where it is known.

    Over component k alone it is b_k + B_k x; over all, sum_k alpha_k (b_k + B_k x) with alpha =
    softmax_k(log pi_k + log Z_k(x)), pi the shares (arXiv 2501.18322). Velocities of heads and of a
    drift add.

    Args:
        attention: The model of one moment.
        measure: A normal distribution, or a mixture whose components are such or mixtures of them.
        points: x, ``shape=(n, d)``.

    Returns:
        The velocity, ``shape=(n, d)``, or None where no formula here gives it.
    """
    shares, parts = zip(*_parts(measure), strict=True)
    normal = all(isinstance(part, Gaussian) for part in parts)
    if attention.relative or attention.causal or not normal:
        return None
    velocity = np.zeros(points.shape)
    for head in attention.all_heads:
        alone = [_over_normal(attention.rule, head, part, points) for part in parts]
        known = [found for found in alone if found is not None]
        if len(known) < len(alone):
            return None
        log_partitions, velocities = (np.stack(found) for found in zip(*known, strict=True))
        alpha = softmax(np.log(shares)[:, None] + log_partitions, axis=0)
        velocity += np.einsum("kn,kni->ni", alpha, velocities)
    return velocity if attention.drift is None else velocity + attention.drift.velocity(points)


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


def _parts(measure: Measure) -> Iterator[tuple[float, Measure]]:
    """What a mixture consists of, however deep, each with its share of the mass."""
    if not isinstance(measure, Mixture):
        yield 1.0, measure
        return
    for share, component in zip(measure.shares, measure.components, strict=True):
        yield from ((share * inner, part) for inner, part in _parts(component))


def _over_normal(
    rule: Law, head: Head, normal: Gaussian, points: Array
) -> tuple[Array, Array] | None:
    """Log Z, ``shape=(n,)``, and the velocity, ``shape=(n, d)``, of one head."""
    moments = normal.moments()
    affine = rule.affine(head, *moments)
    log_partition = rule.log_partition(head, *moments, points)
    if affine is None or log_partition is None:
        return None
    offset, slope = affine
    return log_partition, offset + points @ slope.T


def _on_sphere(
    attention: Attention, start: Measure, time: float, temperature: float
) -> Measure | None:
    values = [multiple_of_identity(head.matrices[2]) for head in attention.all_heads]
    if not attention.rule.is_mean() or temperature > 0 or any(value is None for value in values):
        return None
    if isinstance(start, Uniform):
        return start
    dimension = start.space.dimension
    if not isinstance(start, PoissonKernel) or dimension > 3:
        return None
    a = np.asarray(start.vector)
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


def _angular(
    attention: Attention, drift: Array, start: Measure, time: float, temperature: float
) -> AngularGaussian | None:
    """Under the drift P_x M x alone x(t) is e^{tM} x(0) over its length: G' = M G + G M^T."""
    if temperature > 0 or any(head.matrices[2].any() for head in attention.all_heads):
        return None
    if not isinstance(start, Uniform | AngularGaussian):
        return None
    d = len(drift)
    covariance = np.eye(d) if isinstance(start, Uniform) else np.array(start.covariance)
    # Multiples of the identity move nothing: without one, no direction grows or falls alone.
    flow = expm(time * (drift - np.trace(drift) / d * np.eye(d)))
    covariance = flow @ covariance @ flow.T
    if not np.linalg.cond(covariance) < _LARGEST_CONDITION:
        raise ArithmeticError(f"the exact solution at t = {time:g} exceeds double precision")
    return AngularGaussian(tuple(map(tuple, (covariance + covariance.T) / 2)))


def _normal(
    attention: Attention, start: Gaussian, time: float, temperature: float
) -> Gaussian | None:
    """N(m, S) where the velocity is b + B x: m' = b + B m, S' = B S + S B^T + 2 kappa I."""
    mean, covariance = start.moments()
    d = len(mean)
    if any(attention.rule.affine(head, mean, covariance) is None for head in attention.all_heads):
        return None

    def rate(_: float, state: Array) -> Array:
        mean, covariance = state[:d], state[d:].reshape(d, d)
        offset, slope = _affine(attention, mean, covariance)
        spread = slope @ covariance
        spread = spread + spread.T + 2 * temperature * np.eye(d)
        return np.concatenate([offset + slope @ mean, spread.ravel()])

    state = _integrate(rate, np.concatenate([mean, covariance.ravel()]), time)
    covariance = state[d:].reshape(d, d)
    return Gaussian(tuple(state[:d]), tuple(map(tuple, (covariance + covariance.T) / 2)))


def _linear_image(attention: Attention, start: Spread, time: float) -> LinearImage:
    """The image under x(t) = M x(0), M' = B M, B that of the moments of the image so far."""
    mean, covariance = start.moments()
    d = len(mean)

    def rate(_: float, flat: Array) -> Array:
        matrix = flat.reshape(d, d)
        moved = matrix @ mean, matrix @ covariance @ matrix.T
        return (_affine(attention, *moved)[1] @ matrix).ravel()

    return LinearImage(start, _integrate(rate, np.eye(d).ravel(), time).reshape(d, d))


def _affine(attention: Attention, mean: Array, covariance: Array) -> tuple[Array, Array]:
    """The b and B of b + B x, of all heads and the drift, over a normal distribution."""
    parts = [attention.rule.affine(head, mean, covariance) for head in attention.all_heads]
    offset, slope = (np.sum(part, axis=0) for part in zip(*filter(None, parts), strict=True))
    drift = attention.drift.linear() if attention.drift else None
    return offset, slope if drift is None else slope + drift


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
