"""Measures to start from on the sphere S^{d-1}.

Densities exceed double precision, and are infinite, where areas are that small: from d of about
440 on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import eval_legendre, i0e, ndtri

from meanformer.arrays import Array
from meanformer.attention.measures import circle
from meanformer.attention.measures.euclidean import covariance_fault
from meanformer.attention.measures.measure import check_points, check_uniforms
from meanformer.attention.measures.polar import PolarAngle, log_area
from meanformer.attention.spaces import Sphere

_AREA = {2: 2 * np.pi, 3: 4 * np.pi}
# Numbers in (0, 1), of which normal ones are made.
_LEAST, _MOST = 2.0**-54, 1 - 2.0**-53


@dataclass(frozen=True)
class Uniform:
    """The uniform measure.

    Args:
        dimension: That of the ambient space: 2 for the circle, 3 for the sphere S^2.
    """

    dimension: int = 3

    @property
    def space(self) -> Sphere:
        """S^{d-1}."""
        return Sphere(self.dimension)

    def density(self, points: Array) -> Array:
        """1/|S^{d-1}|."""
        check_points(points, self.space)
        return np.full(len(points), _uniform_density(self.dimension))

    def sample(self, uniforms: Array) -> Array:
        """On S^2 by Archimedes: height and longitude are independent and uniform."""
        check_uniforms(uniforms, self.space)
        if self.dimension > 3:
            return _at_polar_angle((0.0,) * (self.dimension - 1) + (1.0,), 0.0, uniforms)
        if self.dimension == 2:
            return circle.at_angle((1.0, 0.0), circle.uniform_angle(uniforms[:, 1]))
        return _at_height((0.0, 0.0, 1.0), 2 * uniforms[:, 1] - 1, uniforms[:, 2])


@dataclass(frozen=True)
class VonMisesFisher:
    """Density proportional to e^{c <x, m>}; on the circle, von Mises'.

    Args:
        mean: The unit vector m.
        concentration: c >= 0, dimensionless.
    """

    mean: tuple[float, ...]
    concentration: float

    @property
    def space(self) -> Sphere:
        """S^{d-1}."""
        return Sphere(len(self.mean))

    def density(self, points: Array) -> Array:
        """e^{c <x,m>} / (2 pi I_0(c)) on S^1, c e^{c (<x,m> - 1)} / (2 pi (1 - e^{-2c})) on S^2."""
        check_points(points, self.space)
        c = self.concentration
        if self.space.dimension > 3:
            log_mass = PolarAngle(self.space.dimension, c).log_mass
            with np.errstate(over="ignore"):
                return np.exp(c * (points @ self.mean - 1) - log_mass)
        if self.space.dimension == 2:
            square = ((points - np.asarray(self.mean)) ** 2).sum(axis=1)  # 2 - 2 <x, m>
            return np.exp(-c * (square / 2)) / (2 * np.pi * i0e(c))
        if c == 0:
            return Uniform().density(points)
        return -c / (2 * np.pi * np.expm1(-2 * c)) * np.exp(c * (points @ self.mean - 1))

    def sample(self, uniforms: Array) -> Array:
        """On S^2, t = <x, m> has the distribution (e^{c(t-1)} - e^{-2c}) / (1 - e^{-2c})."""
        check_uniforms(uniforms, self.space)
        c, u = self.concentration, uniforms[:, 1]
        if self.space.dimension > 3:
            return _at_polar_angle(self.mean, c, uniforms)
        if self.space.dimension == 2:
            return circle.at_angle(self.mean, circle.von_mises_angle(c, u))
        if c == 0:
            return Uniform().sample(uniforms)
        # At 1 - u rather than u: the argument of the logarithm is then at least 2^-53.
        height = 1 + np.log1p(u * np.expm1(-2 * c)) / c
        return _at_height(self.mean, np.maximum(height, -1.0), uniforms[:, 2])


@dataclass(frozen=True)
class PoissonKernel:
    """The conformal family ((1 - |a|^2) / |x - a|^2)^{d-1} / |S^{d-1}|.

    The flow of attention at beta = 0 keeps it.

    Args:
        vector: a, in the open unit ball.
    """

    vector: tuple[float, ...]

    @property
    def space(self) -> Sphere:
        """S^{d-1}."""
        return Sphere(len(self.vector))

    def density(self, points: Array) -> Array:
        """((1 - |a|^2) / |x - a|^2)^{d-1} / |S^{d-1}|."""
        check_points(points, self.space)
        a, d = np.asarray(self.vector), len(self.vector)
        ratio = (1 - a @ a) / ((points - a) ** 2).sum(axis=1)
        if d in _AREA:
            return ratio ** (d - 1) / _AREA[d]
        with np.errstate(over="ignore"):
            return np.exp((d - 1) * np.log(ratio) - log_area(d))

    def sample(self, uniforms: Array) -> Array:
        """The conformal map x = (1 - |a|^2)/|u + a|^2 (u + a) + a of a uniform u."""
        check_uniforms(uniforms, self.space)
        a = np.asarray(self.vector)
        if len(a) == 2:
            length = math.hypot(*self.vector)
            axis = (self.vector[0] / length, self.vector[1] / length) if length else (1.0, 0.0)
            return circle.at_angle(axis, circle.poisson_angle(length, uniforms[:, 1]))
        shifted = Uniform(len(a)).sample(uniforms) + a
        points = (1 - a @ a) / (shifted**2).sum(axis=1)[:, None] * shifted + a
        return points / np.linalg.norm(points, axis=1)[:, None]


@dataclass(frozen=True)
class AngularGaussian:
    """The angular central Gaussian measure: directions of normal vectors N(0, G).

    The flow of a linear drift keeps it (Tyler, Biometrika 74, 1987, for the density).

    Args:
        covariance: G, symmetric and positive definite, ``shape=(d, d)``; multiples are the same.

    Raises:
        ValueError: The covariance is none.
    """

    covariance: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        """Check the covariance."""
        if fault := covariance_fault(np.array(self.covariance, dtype=float)):
            raise ValueError(
                f"AngularGaussian: covariance {fault}; it must be symmetric and positive definite"
            )

    @property
    def space(self) -> Sphere:
        """S^{d-1}."""
        return Sphere(len(self.covariance))

    def density(self, points: Array) -> Array:
        """|S^{d-1}|^{-1} det(G)^{-1/2} <x, G^{-1} x>^{-d/2}."""
        check_points(points, self.space)
        d, root = len(self.covariance), self._root
        whiten = solve_triangular(root, np.eye(d), lower=True)
        lengths = np.linalg.norm(points @ whiten.T, axis=1)
        with np.errstate(over="ignore"):
            return np.exp(-d * np.log(lengths) - np.log(np.diag(root)).sum() - log_area(d))

    def sample(self, uniforms: Array) -> Array:
        """The points L u / |L u|, with G = L L^T and u uniform."""
        check_uniforms(uniforms, self.space)
        directions = Uniform(len(self.covariance)).sample(uniforms)
        points = np.einsum("ij,nj->ni", self._root, directions)
        return points / np.linalg.norm(points, axis=1)[:, None]

    @cached_property
    def _root(self) -> Array:
        """L, lower triangular with a positive diagonal, ``shape=(d, d)``."""
        return np.asarray(np.linalg.cholesky(np.array(self.covariance, dtype=float)))


@dataclass(frozen=True)
class ZonalHarmonic:
    """A zonal harmonic on top of the uniform measure: (1 + amplitude P_k(<x, axis>)) / |S^{d-1}|.

    On the circle P_k is Chebyshev's polynomial: the density is (1 + amplitude cos(k t)) / (2 pi), t
    the angle from the axis. On the sphere it is Legendre's.

    Args:
        degree: k >= 1.
        amplitude: In [-1, 1], relative to the uniform density.
        axis: Unit vector.

    Raises:
        ValueError: On spheres of d > 3.
    """

    degree: int
    amplitude: float
    axis: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the dimension."""
        if len(self.axis) not in _AREA:
            raise ValueError(
                f"ZonalHarmonic: the dimension is {len(self.axis)}; it must be 2, for the circle, "
                "or 3, for the sphere"
            )

    @property
    def space(self) -> Sphere:
        """S^1 or S^2."""
        return Sphere(len(self.axis))

    def density(self, points: Array) -> Array:
        """(1 + amplitude P_k(<x, axis>)) / |S^{d-1}|."""
        check_points(points, self.space)
        if self.space.dimension == 3:
            harmonic = eval_legendre(self.degree, np.clip(points @ self.axis, -1, 1))
        else:
            harmonic = np.cos(self.degree * circle.angle_from(self.axis, points))
        return (1 + self.amplitude * harmonic) / _AREA[self.space.dimension]

    def sample(self, uniforms: Array) -> Array:
        """Bisection of the distribution function of the angle or height, to round-off."""
        check_uniforms(uniforms, self.space)
        k, u = self.degree, uniforms[:, 1]
        if self.space.dimension == 2:
            return circle.at_angle(self.axis, circle.harmonic_angle(k, self.amplitude, u))

        def distribution(height: Array) -> Array:
            above, below = eval_legendre(k + 1, height), eval_legendre(k - 1, height)
            return (1 + height + self.amplitude * ((above - below) / (2 * k + 1))) / 2

        return _at_height(self.axis, circle.bisect(distribution, u, -1.0, 1.0), uniforms[:, 2])


def _uniform_density(dimension: int) -> float:
    """One over the area of S^{d-1}."""
    if dimension in _AREA:
        return 1 / _AREA[dimension]
    with np.errstate(over="ignore"):
        return float(np.exp(-log_area(dimension)))


def _at_polar_angle(mean: tuple[float, ...], concentration: float, uniforms: Array) -> Array:
    """Points of S^{d-1}, d > 3, of the density e^{c <x, m>}.

    The second uniform number makes the angle from m, the others a normal vector in R^{d-1}, whose
    direction is uniform; a reflection takes the last coordinate axis to m.
    """
    angle = PolarAngle(len(mean), concentration).quantile(uniforms[:, 1])
    across = ndtri(np.clip(uniforms[:, 2:], _LEAST, _MOST))
    across[:, 0] += ~across.any(axis=1)  # any direction, if all of them are 0
    across *= (np.sin(angle) / np.linalg.norm(across, axis=1))[:, None]
    points = np.column_stack([across, np.cos(angle)])
    # Of the last axis e and m, of which the farther one from -m or m is reflected.
    sign = 1.0 if mean[-1] > 0 else -1.0
    normal = sign * np.asarray(mean)
    normal[-1] += 1
    heights = np.einsum("ij,j->i", points, normal)
    reflected: Array = points - 2 / (normal @ normal) * np.outer(heights, normal)
    return -sign * reflected


def _at_height(axis: tuple[float, ...], height: Array, turn: Array) -> Array:
    """Points of S^2 at heights along an axis, turned around it by shares of a full turn."""
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
