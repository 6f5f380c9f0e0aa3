"""Matrices that may be multiples of the identity, held as a number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array

_ROUND_OFF = 1e-15


def matrix_of(given: npt.ArrayLike | None) -> Array:
    """A number (zero-dimensional) or a matrix; None is the identity."""
    matrix = np.array(1.0 if given is None else given)
    if not np.can_cast(matrix.dtype, float, casting="same_kind"):
        raise TypeError("not a matrix of real numbers")
    return matrix.astype(float)


def times(left: Array, right: Array) -> Array:
    """Product of two matrices, either of which may be a multiple of the identity.

    May be ``left`` itself.
    """
    if right.ndim == 0 and right == 1:
        return left
    return left @ right if left.ndim and right.ndim else left * right


def applied(matrix: Array, vectors: Array) -> Array:
    """M y for vectors y, ``shape=(n, d)``; matrices of systems, one for as many rows each."""
    if matrix.ndim < 3:
        return times(vectors, matrix.T)
    systems, dimension, _ = matrix.shape
    count = len(vectors) // systems if systems else 0
    moved: Array = vectors.reshape(systems, count, dimension) @ matrix.swapaxes(1, 2)
    return moved.reshape(vectors.shape)


def full(matrix: Array, dimension: int) -> Array:
    """A matrix in full, ``shape=(d, d)`` for a multiple of the identity."""
    return matrix if matrix.ndim else matrix * np.eye(dimension)


def multiple_of_identity(matrix: Array) -> float | None:
    """C if a matrix is c I up to the round-off of a product of matrices, None otherwise."""
    if matrix.ndim == 0:
        return float(matrix)
    if matrix.ndim == 3 or matrix.shape[0] != matrix.shape[1]:
        return None
    factor = float(np.trace(matrix)) / len(matrix)
    distance = np.abs(matrix - factor * np.eye(len(matrix))).max()
    return factor if distance <= _ROUND_OFF * abs(factor) else None


def spectral_norm(matrix: Array) -> float:
    """Spectral norm of a matrix or of a multiple of the identity."""
    return float(spectral_norms(matrix))


def spectral_norms(matrix: Array) -> Array:
    """Spectral norm of a matrix or of a multiple of the identity, ``shape=()``, or of several."""
    if matrix.ndim == 0:
        return np.abs(matrix)
    norms: Array = np.linalg.norm(matrix, 2, axis=(-2, -1))
    return norms


def sum_of(matrices: Sequence[Array]) -> Array:
    """Sum of matrices, any of which may be a multiple of the identity."""
    sizes = [len(matrix) for matrix in matrices if matrix.ndim]
    if not sizes:
        return matrix_of(sum(float(matrix) for matrix in matrices))
    identity = np.eye(sizes[0])
    return matrix_of(sum(matrix if matrix.ndim else matrix * identity for matrix in matrices))
