"""The spaces on which tokens live: the unit sphere S^{d-1} and R^d."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.rows import are_unit, normalise, project


@dataclass(frozen=True)
class Sphere:
    """The unit sphere S^{d-1} in R^d.

    Args:
        dimension: The ambient dimension d, at least 2.

    Raises:
        ValueError: If ``dimension`` is no integer, or less than 2.
    """

    dimension: int

    #: Whether ``tangent`` takes away what is along a point.
    projects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the dimension."""
        if not isinstance(self.dimension, Integral) or self.dimension < 2:
            raise ValueError(
                f"Sphere: dimension is {self.dimension}; it must be an integer, at least 2"
            )

    def tangent(self, points: Array, vectors: Array, out: Array | None = None) -> Array:
        """Project vectors on the tangent spaces: P_x w = w - <w, x> x.

        Args:
            points: Unit vectors, ``shape=(m, d)``.
            vectors: Vectors, ``shape=(m, d)``.
            out: Where the result may be, such as in the vectors; None for another array.

        Returns:
            The projected vectors, ``shape=(m, d)``.

        Raises:
            ValueError: If the shapes differ.
        """
        points, vectors = _known(points), _known(vectors)
        if points.shape != vectors.shape or points.ndim != 2:
            raise ValueError(
                f"tangent: points have shape {points.shape}, vectors {vectors.shape}; both must "
                "have (m, d)"
            )
        projected = np.empty_like(points) if out is None else out
        project(vectors, points, projected)
        return projected

    def retract(self, points: Array) -> Array:
        """Bring points back to the sphere: x / |x|, ``shape=(m, d)``."""
        directions = np.empty(points.shape)
        normalise(_known(points), directions)
        return directions

    def holds(self, points: Array) -> bool:
        """Whether every row of ``points`` is a unit vector, up to 1e-6."""
        return bool(are_unit(_known(points), 2e-6))


@dataclass(frozen=True)
class UnitVectors(Sphere):
    """The unit sphere, whose points have velocities of R^d: what layers add before they normalise.

    Arguments and errors are those of ``Sphere``.
    """

    projects = False

    def tangent(self, points: Array, vectors: Array, out: Array | None = None) -> Array:
        """Vectors as they are."""
        return vectors


@dataclass(frozen=True)
class Euclidean:
    """The space R^d.

    Args:
        dimension: d, at least 1.

    Raises:
        ValueError: If ``dimension`` is no integer, or less than 1.
    """

    dimension: int

    projects: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the dimension."""
        if not isinstance(self.dimension, Integral) or self.dimension < 1:
            raise ValueError(
                f"Euclidean: dimension is {self.dimension}; it must be an integer, at least 1"
            )

    def tangent(self, points: Array, vectors: Array, out: Array | None = None) -> Array:
        """Every vector is tangent to R^d."""
        return vectors

    def retract(self, points: Array) -> Array:
        """Every point is in R^d."""
        return points

    def holds(self, points: Array) -> bool:
        """Every point is in R^d."""
        return True


Space = Sphere | Euclidean


def _known(rows: Array) -> Array:
    """An array of the kind that compiled functions know."""
    return np.require(rows, float, ("C", "W"))
