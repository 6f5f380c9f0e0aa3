"""A linear drift: a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.attention.drift.base import Drift
from meanformer.attention.matrices import spectral_norm


@dataclass(frozen=True, eq=False)
class LinearDrift(Drift):
    """The drift M x.

    Args:
        matrix: M, ``shape=(d, d)``.

    Raises:
        ValueError: If it is no square matrix of finite real numbers.
    """

    matrix: npt.ArrayLike

    def __post_init__(self) -> None:
        """Check the matrix, and keep a copy: the caller's own array may change."""
        matrix = np.array(self.matrix)
        if not np.can_cast(matrix.dtype, float, casting="same_kind"):
            raise ValueError("matrix must be of real numbers")
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
            raise ValueError(f"matrix has shape {matrix.shape}; must be (d, d)")
        if not np.all(np.isfinite(matrix)):
            raise ValueError("matrix must be finite")
        object.__setattr__(self, "matrix", matrix.astype(float))

    def velocity(self, points: Array) -> Array:
        """M x, ``shape=(n, d)``."""
        return points @ self.linear().T

    @cached_property
    def slope(self) -> float:
        """|M|."""
        return spectral_norm(self.linear())

    def problem_in(self, dimension: int) -> str | None:
        """What is wrong with M's shape, if anything."""
        shape, wanted = self.linear().shape, (dimension, dimension)
        return None if shape == wanted else f"matrix has shape {shape}; must be {wanted}"

    def linear(self) -> Array:
        """M."""
        return np.asarray(self.matrix)
