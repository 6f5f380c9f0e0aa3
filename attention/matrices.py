"""Matrices that may be multiples of the identity, held as a number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meanformer.attention.spaces import Array


def matrix_of(given: npt.ArrayLike | None) -> Array:
    """A number (zero-dimensional) or a matrix; None is the identity."""
    return np.asarray(1.0 if given is None else given, dtype=float)


def times(left: Array, right: Array) -> Array:
    """Product of two matrices, either of which may be a multiple of the identity."""
    return left @ right if left.ndim and right.ndim else left * right


def multiple_of_identity(matrix: Array) -> tuple[bool, float]:
    """Whether a matrix is c I, and c."""
    if matrix.ndim == 0:
        return True, float(matrix)
    return bool(np.array_equal(matrix, matrix[0, 0] * np.eye(len(matrix)))), float(matrix[0, 0])


def spectral_norm(matrix: Array) -> float:
    """Spectral norm of a matrix or of a multiple of the identity."""
    return float(np.linalg.norm(matrix, 2)) if matrix.ndim else abs(float(matrix))
