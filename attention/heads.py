"""One head of attention: its matrices Q, K, V."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.attention.matrices import matrix_of, times


@dataclass(frozen=True, eq=False)
class Head:
    """Queries Q x, keys K y and values V y of one head.

    Args:
        query: Q: None (identity), a number (a multiple of it) or a matrix, ``shape=(r, d)``.
        key: K, likewise, with the same r.
        value: V: None, a number or a matrix, ``shape=(d, d)``; or one for each of several systems,
            ``shape=(systems, d, d)``.

    Raises:
        ValueError: If an argument is not finite, or of a wrong kind or shape.
    """

    query: npt.ArrayLike | None = None
    key: npt.ArrayLike | None = None
    value: npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        for name, shape in (("query", "(r, d)"), ("key", "(r, d)"), ("value", "(d, d)")):
            try:
                matrix = matrix_of(getattr(self, name))
            except (TypeError, ValueError):
                raise ValueError(f"{name} must be None, a number or a matrix {shape}") from None
            stacked = matrix.ndim == 3 and name == "value"
            if not (stacked or (matrix.ndim in (0, 2) and matrix.size)):
                raise ValueError(f"{name} has shape {matrix.shape}; must be a number or {shape}")
            if not np.all(np.isfinite(matrix)):
                raise ValueError(f"{name} must be finite")
            if matrix.ndim:  # a copy: the caller's own array may change
                object.__setattr__(self, name, matrix)
        query, key, value = self.matrices
        square = {"query": query, "key": key, "value": value}
        if query.ndim and key.ndim:
            if query.shape != key.shape:
                shapes = f"query has shape {query.shape} and key {key.shape}"
                raise ValueError(f"{shapes}; must be the same")
            square = {"value": value}
        for name, matrix in square.items():
            if matrix.ndim and matrix.shape[-2] != matrix.shape[-1]:
                raise ValueError(f"{name} has shape {matrix.shape}; must be square")

    @cached_property
    def matrices(self) -> tuple[Array, Array, Array]:
        """Q, K and V; multiples of the identity as numbers (zero-dimensional).

        V of several systems has one more axis in front.
        """
        return matrix_of(self.query), matrix_of(self.key), matrix_of(self.value)

    @property
    def product(self) -> Array:
        """K^T Q, ``shape=(d, d)``, or a number (a multiple of the identity)."""
        query, key, _ = self.matrices
        return times(key.T, query)

    def problem_in(self, dimension: int) -> str | None:
        """What does not fit a space of the ambient dimension d, if anything."""
        for name, matrix in zip(("query", "key", "value"), self.matrices, strict=True):
            if matrix.ndim and matrix.shape[-1] != dimension:
                return f"{name} has shape {matrix.shape}; must have {dimension} columns"
        return None
