"""Measures to start from in R^d, for any d."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammainc, gammaln, ndtri

from meanformer.arrays import Array
from meanformer.attention.measures.measure import Spread, check_points, check_uniforms
from meanformer.attention.spaces import Euclidean

_SYMMETRIC = 1e-12  # how far a covariance may be from symmetric, relative to its largest entry


@dataclass(frozen=True)
class Gaussian:
    """The normal distribution N(m, S).

    Args:
        mean: m, ``shape=(d,)``.
        covariance: S, symmetric and positive definite, ``shape=(d, d)``; or a positive number,
            for that multiple of the identity.

    Raises:
        ValueError: The covariance is none, or not one of d dimensions.
    """

    mean: Sequence[float]
    covariance: Sequence[Sequence[float]] | float

    def __post_init__(self) -> None:
        """Check the covariance."""
        d, covariance = self.space.dimension, self._matrix
        if covariance.shape != (d, d):
            raise ValueError(
                f"Gaussian: covariance has shape {covariance.shape}; it must be {(d, d)}, since "
                f"mean has {d} entries"
            )
        if fault := covariance_fault(covariance):
            raise ValueError(
                f"Gaussian: covariance {fault}; it must be symmetric and positive definite"
            )

    @cached_property
    def space(self) -> Euclidean:
        """R^d."""
        return Euclidean(len(self.mean))

    def density(self, points: Array) -> Array:
        """e^{-<x - m, S^{-1} (x - m)>/2} / sqrt((2 pi)^d det S)."""
        check_points(points, self.space)
        d, root = self.space.dimension, self._root
        whiten = solve_triangular(root, np.eye(d), lower=True)
        logarithm = -np.log(np.diag(root)).sum() - d / 2 * np.log(2 * np.pi)
        with np.errstate(over="ignore"):  # far away the density is zero
            squares = (((points - np.asarray(self.mean)) @ whiten.T) ** 2).sum(axis=1)
            density: Array = np.exp(logarithm - squares / 2)
        return density

    def sample(self, uniforms: Array) -> Array:
        """The points m + L z, with S = L L^T and z the normal quantiles of the uniform numbers."""
        check_uniforms(uniforms, self.space)
        normal = _normal(uniforms[:, 1:])
        coordinates = np.tile(np.array(self.mean, dtype=float)[:, None], len(uniforms))
        # Column by column: a matrix product rounds differently for another number of tokens.
        for j, column in enumerate(self._root.T):
            rows = slice(j, np.flatnonzero(column)[-1] + 1)
            coordinates[rows] += column[rows, None] * normal[:, j]
        return np.ascontiguousarray(coordinates.T)

    def moments(self) -> tuple[Array, Array]:
        """Mean, ``shape=(d,)``, and covariance, ``shape=(d, d)``."""
        return np.array(self.mean, dtype=float), self._matrix

    @property
    def _matrix(self) -> Array:
        covariance = np.array(self.covariance, dtype=float)
        return covariance if covariance.ndim else covariance * np.eye(self.space.dimension)

    @cached_property
    def _root(self) -> Array:
        """L, lower triangular with a positive diagonal, ``shape=(d, d)``."""
        return np.asarray(np.linalg.cholesky(self._matrix), dtype=np.float64)


@dataclass(frozen=True)
class Box:
    """The uniform measure of a box, whose density jumps at its sides.

    Args:
        lower: The corner of the smallest coordinates, ``shape=(d,)``.
        upper: The corner of the largest coordinates, ``shape=(d,)``.

    Raises:
        ValueError: The corners have different lengths, or ``lower`` is not below ``upper``.
    """

    lower: Sequence[float]
    upper: Sequence[float]

    def __post_init__(self) -> None:
        """Check the corners."""
        if len(self.lower) != len(self.upper):
            raise ValueError(
                f"Box: lower has {len(self.lower)} entries and upper {len(self.upper)}; they must "
                "have as many"
            )
        for i, (lower, upper) in enumerate(zip(self.lower, self.upper, strict=True)):
            if not lower < upper:
                raise ValueError(
                    f"Box: lower[{i}] is {lower} and upper[{i}] is {upper}; it must be less"
                )

    @cached_property
    def space(self) -> Euclidean:
        """R^d."""
        return Euclidean(len(self.lower))

    def density(self, points: Array) -> Array:
        """One over the volume in the closed box, 0 elsewhere."""
        check_points(points, self.space)
        lower, upper = self._corners
        inside = np.all((points >= lower) & (points <= upper), axis=1)
        return np.where(inside, np.prod(1 / (upper - lower)), 0.0)

    def sample(self, uniforms: Array) -> Array:
        """Each coordinate is uniform by itself."""
        check_uniforms(uniforms, self.space)
        lower, upper = self._corners
        return np.minimum(lower + (upper - lower) * uniforms[:, 1:], upper)

    def moments(self) -> tuple[Array, Array]:
        """Mean, ``shape=(d,)``, and covariance, ``shape=(d, d)``: widths squared over 12."""
        lower, upper = self._corners
        return lower + (upper - lower) / 2, np.diag((upper - lower) ** 2 / 12)

    @property
    def _corners(self) -> tuple[Array, Array]:
        return np.array(self.lower, dtype=float), np.array(self.upper, dtype=float)


@dataclass(frozen=True)
class Ball:
    """The uniform measure of a ball, whose density jumps at its surface.

    Densities exceed double precision, and are infinite, where volumes are that small.

    Args:
        centre: c, ``shape=(d,)``.
        radius: r, a positive number, in the units of space.

    Raises:
        ValueError: The radius is not a positive number.
    """

    centre: Sequence[float]
    radius: float

    def __post_init__(self) -> None:
        """Check the radius."""
        if not 0 < self.radius < np.inf:
            raise ValueError(f"Ball: radius is {self.radius}; it must be a positive number")

    @cached_property
    def space(self) -> Euclidean:
        """R^d."""
        return Euclidean(len(self.centre))

    def density(self, points: Array) -> Array:
        """One over the volume in the closed ball, 0 elsewhere."""
        check_points(points, self.space)
        d = self.space.dimension
        with np.errstate(over="ignore"):
            distances = np.linalg.norm((points - self._centre) / self.radius, axis=1)
            # The volume is pi^{d/2} r^d / Gamma(d/2 + 1).
            logarithm = d / 2 * np.log(np.pi) + d * np.log(self.radius) - gammaln(d / 2 + 1)
            return np.where(distances <= 1, np.exp(-logarithm), 0.0)

    def sample(self, uniforms: Array) -> Array:
        """The points c + r F(|z|)^{1/d} z/|z|, z the normal quantiles of the uniform numbers.

        F, the distribution function of |z|, is uniform and independent of the direction.
        """
        check_uniforms(uniforms, self.space)
        d, normal = self.space.dimension, _normal(uniforms[:, 1:])
        length = np.linalg.norm(normal, axis=1)
        share = self.radius * gammainc(d / 2, length**2 / 2) ** (1 / d)
        directions = normal / np.where(length > 0, length, 1.0)[:, None]
        return self._centre + share[:, None] * directions

    def moments(self) -> tuple[Array, Array]:
        """Mean, ``shape=(d,)``, and covariance r^2/(d + 2) I, ``shape=(d, d)``."""
        d = self.space.dimension
        return self._centre, self.radius * self.radius / (d + 2) * np.eye(d)

    @property
    def _centre(self) -> Array:
        return np.array(self.centre, dtype=float)


@dataclass(frozen=True, eq=False)
class LinearImage:
    """The image of a measure in R^d under x -> M x.

    Args:
        source: The measure.
        matrix: M, invertible, ``shape=(d, d)``.
    """

    source: Spread
    matrix: Array

    @cached_property
    def space(self) -> Euclidean:
        """R^d."""
        return Euclidean(self.source.space.dimension)

    def density(self, points: Array) -> Array:
        """The source's density at M^{-1} x, over |det M|."""
        inverse = np.linalg.inv(self.matrix)
        return self.source.density(points @ inverse.T) * abs(np.linalg.det(inverse))

    def sample(self, uniforms: Array) -> Array:
        """M times samples of the source."""
        return self.source.sample(uniforms) @ self.matrix.T

    def moments(self) -> tuple[Array, Array]:
        """Mean, ``shape=(d,)``, and covariance, ``shape=(d, d)``."""
        mean, covariance = self.source.moments()
        return self.matrix @ mean, self.matrix @ covariance @ self.matrix.T


def _normal(levels: Array) -> Array:
    """Normal quantiles of uniform numbers; these are multiples of 2^-53, that of 0 is infinite."""
    quantiles: Array = ndtri(np.maximum(levels, 2.0**-54))
    return quantiles


def covariance_fault(matrix: Array) -> str:
    """What keeps a matrix from being a covariance with a density, or an empty string.

    Args:
        matrix: Finite, ``shape=(r, c)``. Asymmetry of 1e-12 of the largest entry is round-off.

    Returns:
        A predicate, such as "is not symmetric: ...".
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        return f"has shape {matrix.shape}"
    apart = np.abs(matrix - matrix.T)
    i, j = np.unravel_index(np.argmax(apart), apart.shape)
    if not apart[i, j] <= _SYMMETRIC * np.abs(matrix).max():
        i, j = min(i, j), max(i, j)
        return f"is not symmetric: {matrix[i, j]:g} at [{i}][{j}], {matrix[j, i]:g} at [{j}][{i}]"
    variances = np.diag(matrix)
    if not np.all(variances > 0):
        i = np.argmin(variances)
        return f"is not positive definite: {variances[i]:g} at [{i}][{i}]"
    # Coordinates may have any units: judge what does not depend on them.
    deviations = np.sqrt(variances)
    with np.errstate(over="ignore"):
        correlations = matrix / deviations[:, None] / deviations
    outside = np.abs(correlations) > 1 + _SYMMETRIC
    smallest = -1.0 if np.any(outside) else float(np.linalg.eigvalsh(correlations)[0])
    round_off = len(matrix) * np.finfo(float).eps
    if smallest < -round_off:
        return "is not positive definite"
    return "is singular to round-off" if smallest <= round_off else ""
