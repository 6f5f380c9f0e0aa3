"""Compiled passes over arrays of vectors: numpy broadcasts slowly over short rows."""

from __future__ import annotations

import numba
import numpy as np

# The reciprocals of smaller numbers lose digits, or overflow.
_SMALL = 1e-300


@numba.njit(cache=True, error_model="numpy")
def divide(vectors, numbers, quotients):  # type: ignore[no-untyped-def]
    """quotients[i] = vectors[i] / numbers[i]."""
    count, dimension = vectors.shape
    for i in range(count):
        if abs(numbers[i]) > _SMALL:
            reciprocal = 1 / numbers[i]
            for k in range(dimension):
                quotients[i, k] = vectors[i, k] * reciprocal
        else:
            for k in range(dimension):
                quotients[i, k] = vectors[i, k] / numbers[i]


@numba.njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def project(vectors, normals, projected):  # type: ignore[no-untyped-def]
    """projected[i] = vectors[i] - <vectors[i], normals[i]> normals[i]; in place, too."""
    count, dimension = vectors.shape
    for i in range(count):
        inner = 0.0
        for k in range(dimension):
            inner += vectors[i, k] * normals[i, k]
        for k in range(dimension):
            projected[i, k] = vectors[i, k] - inner * normals[i, k]


@numba.njit(cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def normalise(vectors, directions):  # type: ignore[no-untyped-def]
    """directions[i] = vectors[i] / |vectors[i]|."""
    count, dimension = vectors.shape
    for i in range(count):
        square = 0.0
        for k in range(dimension):
            square += vectors[i, k] * vectors[i, k]
        length = np.sqrt(square)
        for k in range(dimension):
            directions[i, k] = vectors[i, k] / length


@numba.njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def are_unit(vectors, tolerance):  # type: ignore[no-untyped-def]
    """Whether the square of every vector's length is 1 up to a tolerance."""
    count, dimension = vectors.shape
    for i in range(count):
        square = 0.0
        for k in range(dimension):
            square += vectors[i, k] * vectors[i, k]
        if not abs(square - 1) < tolerance:
            return False
    return True
