"""A measure moved by an invertible matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.measures.measure import Measure
from meanformer.attention.spaces import Euclidean


@runtime_checkable
class Spread(Measure, Protocol):
    """A measure in R^d that knows its mean and covariance."""

    def moments(self) -> tuple[Array, Array]:
        """Mean, ``shape=(d,)``, and covariance, ``shape=(d, d)``."""


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
