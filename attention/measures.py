r"""Initial measures on S^2: densities, and exact samples from them.

Densities are per unit area with mass one. Samples are made by inverse transforms of three uniform
numbers a token, so that token i can be drawn from its own stretch of a random stream whichever
rank holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import eval_legendre

from meanformer.attention.spaces import Array

#: Uniform numbers that one sample takes: a component, a colatitude, a longitude.
UNIFORMS = 3
_AREA = 4 * np.pi


class Measure(Protocol):
    """A probability measure with a density on S^2."""

    def density(self, points: Array) -> Array:
        """Density per unit area at unit vectors, ``shape=(n, 3)`` to ``shape=(n,)``."""

    def sample(self, uniforms: Array) -> Array:
        """Points made from uniform numbers in [0, 1), ``shape=(n, 3)`` to ``shape=(n, 3)``."""


@dataclass(frozen=True)
class Uniform:
    """The uniform measure."""

    def density(self, points: Array) -> Array:
        """1/(4 pi)."""
        return np.full(len(points), 1 / _AREA)

    def sample(self, uniforms: Array) -> Array:
        """Archimedes: height and longitude are independent and uniform."""
        return _place((0.0, 0.0, 1.0), 2 * uniforms[:, 1] - 1, uniforms[:, 2])


@dataclass(frozen=True)
class VonMisesFisher:
    """Density proportional to e^{c <x, m>}.

    Args:
        mean: The unit vector m.
        concentration: c >= 0, dimensionless.
    """

    mean: tuple[float, ...]
    concentration: float

    def density(self, points: Array) -> Array:
        """Density c / (2 pi (1 - e^{-2c})) e^{c (<x,m> - 1)}."""
        c = self.concentration
        if c == 0:
            return Uniform().density(points)
        return -c / (2 * np.pi * np.expm1(-2 * c)) * np.exp(c * (points @ self.mean - 1))

    def sample(self, uniforms: Array) -> Array:
        """The height t = <x, m> has the distribution (e^{c(t-1)} - e^{-2c}) / (1 - e^{-2c})."""
        c, u = self.concentration, uniforms[:, 1]
        if c == 0:
            return Uniform().sample(uniforms)
        # At 1 - u rather than u: the argument of the logarithm is then at least 2^-53.
        height = 1 + np.log1p(u * np.expm1(-2 * c)) / c
        return _place(self.mean, np.maximum(height, -1.0), uniforms[:, 2])


@dataclass(frozen=True)
class PoissonKernel:
    """The conformal family ((1 - |a|^2) / |x - a|^2)^2 / (4 pi), kept by the flow at beta = 0.

    Args:
        vector: a, in the open unit ball.
    """

    vector: tuple[float, ...]

    def density(self, points: Array) -> Array:
        """((1 - |a|^2) / |x - a|^2)^2 / (4 pi)."""
        a = np.asarray(self.vector)
        return ((1 - a @ a) / ((points - a) ** 2).sum(axis=1)) ** 2 / _AREA

    def sample(self, uniforms: Array) -> Array:
        """The conformal map x = (1 - |a|^2)/|u + a|^2 (u + a) + a of a uniform u."""
        a = np.asarray(self.vector)
        shifted = Uniform().sample(uniforms) + a
        points = (1 - a @ a) / (shifted**2).sum(axis=1)[:, None] * shifted + a
        return points / np.linalg.norm(points, axis=1)[:, None]


@dataclass(frozen=True)
class ZonalHarmonic:
    """A zonal harmonic on top of the uniform measure: (1 + amplitude P_k(<x, axis>)) / (4 pi).

    Args:
        degree: k >= 1.
        amplitude: In [-1, 1], relative to the uniform density.
        axis: Unit vector.
    """

    degree: int
    amplitude: float
    axis: tuple[float, ...]

    def density(self, points: Array) -> Array:
        """(1 + amplitude P_k(<x, axis>)) / (4 pi)."""
        height = np.clip(points @ self.axis, -1, 1)
        return (1 + self.amplitude * eval_legendre(self.degree, height)) / _AREA

    def sample(self, uniforms: Array) -> Array:
        """Bisection of the height's distribution function, to round-off."""
        k, u = self.degree, uniforms[:, 1]
        low: Array = np.full(len(u), -1.0)
        high: Array = np.full(len(u), 1.0)
        for _ in range(54):
            middle = (low + high) / 2
            primitive = (eval_legendre(k + 1, middle) - eval_legendre(k - 1, middle)) / (2 * k + 1)
            below = (1 + middle + self.amplitude * primitive) / 2 < u
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return _place(self.axis, (low + high) / 2, uniforms[:, 2])


@dataclass(frozen=True)
class Mixture:
    """A convex combination of measures.

    Args:
        components: The measures.
        weights: Their positive weights; only ratios count.
    """

    components: tuple[Measure, ...]
    weights: tuple[float, ...]

    def density(self, points: Array) -> Array:
        """The weighted mean of the components' densities."""
        values = np.stack([component.density(points) for component in self.components])
        shares: Array = np.asarray(self.weights) / sum(self.weights)
        return shares @ values

    def sample(self, uniforms: Array) -> Array:
        """Choose a component by the first uniform number, sample it by the others."""
        edges = np.cumsum(self.weights)[:-1] / sum(self.weights)
        chosen = np.searchsorted(edges, uniforms[:, 0], side="right")
        # A component may be a mixture: its place within the chosen share is uniform again.
        lower = np.concatenate([[0.0], edges])[chosen]
        width = (np.asarray(self.weights) / sum(self.weights))[chosen]
        inner = uniforms.copy()
        inner[:, 0] = np.clip((uniforms[:, 0] - lower) / width, 0.0, 1 - 2.0**-53)
        points = np.empty((len(uniforms), 3))
        for k, component in enumerate(self.components):
            points[chosen == k] = component.sample(inner[chosen == k])
        return points


def uniform_numbers(first: int, count: int, seed: int) -> Array:
    """The uniform numbers of tokens first, first+1, ..., which depend on nothing but the seed.

    Args:
        first: Global number of the first token.
        count: Number of tokens.
        seed: Seed of the stream.

    Returns:
        ``shape=(count, 3)``, in [0, 1).
    """
    stream = np.random.PCG64(seed)
    stream.advance(UNIFORMS * first)  # one draw a double
    return np.random.Generator(stream).random((count, UNIFORMS))


def _place(axis: tuple[float, ...], height: Array, turn: Array) -> Array:
    """Points at the given heights along an axis, turned around it by shares of a full turn."""
    pole = np.asarray(axis)
    # A frame around the axis, built on the coordinate axis farthest from it.
    first = np.cross(pole, np.eye(3)[np.argmin(np.abs(pole))])
    first /= np.linalg.norm(first)
    second = np.cross(pole, first)
    radius = np.sqrt((1 - height) * (1 + height))
    angle = 2 * np.pi * turn
    return (
        height[:, None] * pole
        + (radius * np.cos(angle))[:, None] * first
        + (radius * np.sin(angle))[:, None] * second
    )
