"""What the attention matrix P of tokens becomes: Boolean rows, and a low rank."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array

#: Rows are Boolean within this of a unit vector in the maximum norm, and singular values count
#: above this share of the largest.
TOLERANCE = 1e-6
# A matrix is known by its part in the range of so many random columns where what is left of it is
# so small beside the tolerance; else more are tried, in the end all.
_SKETCHES, _LEFT = (64, 256), 0.01


def boolean_rows(matrix: Array) -> npt.NDArray[np.bool_]:
    """Which rows of an attention matrix are unit vectors, as in section 2 of arXiv 2305.05465.

    Args:
        matrix: P, ``shape=(m, n)``, or one for each head, ``shape=(h, m, n)``.

    Returns:
        Whether a row is within 1e-6 of a unit vector in the maximum norm, in every head,
        ``shape=(m,)``.
    """
    heads = _heads(matrix)
    largest = heads.argmax(axis=2)[..., None]
    there = np.abs(np.take_along_axis(heads, largest, axis=2) - 1)[..., 0]
    elsewhere = np.abs(heads)
    np.put_along_axis(elsewhere, largest, 0.0, axis=2)
    near = np.maximum(there, elsewhere.max(axis=2)) <= TOLERANCE
    return near.all(axis=0)


def numerical_rank(matrix: Array) -> int:
    """How many singular values are above 1e-6 of the largest; the largest number of a head.

    Args:
        matrix: P, ``shape=(m, n)``, or one for each head, ``shape=(h, m, n)``.
    """
    return max(_rank(head) for head in _heads(matrix))


def numerical_ranks(matrices: Array) -> Array:
    """``numerical_rank`` of each of several systems, ``shape=(systems,)``.

    Args:
        matrices: One for each head and system, ``shape=(h, systems, n, n)``.
    """
    if 2 * _SKETCHES[0] < matrices.shape[-1]:
        ranks = [numerical_rank(matrices[:, system]) for system in range(matrices.shape[1])]
        return np.array(ranks, dtype=float)
    sizes = _singular_values(matrices)
    return (sizes > TOLERANCE * sizes[..., :1]).sum(axis=-1).max(axis=0).astype(float)


def _heads(matrix: Array) -> Array:
    """One matrix a head, ``shape=(h, m, n)``."""
    return matrix if matrix.ndim == 3 else matrix[None]


def _rank(matrix: Array) -> int:
    """The rank of one head, by a part of it that lies in the range of random columns, or by all.

    Singular values of a part are off by no more than what is left of the matrix.
    """
    for columns in (each for each in _SKETCHES if 2 * each < min(matrix.shape)):
        directions = np.random.default_rng(0).normal(size=(matrix.shape[1], columns))
        basis, _ = np.linalg.qr(matrix @ directions)
        part = basis.T @ matrix
        sizes = np.linalg.svd(part, compute_uv=False)
        left = np.linalg.norm(matrix - basis @ part)
        if left <= _LEFT * TOLERANCE * sizes[0]:
            break
    else:
        sizes = _singular_values(matrix)
    return int(np.count_nonzero(sizes > TOLERANCE * sizes[0]))


def _singular_values(matrix: Array) -> Array:
    """Singular values by those of the square, falling, ``shape=(..., m, n)`` to ``(..., m)``.

    It takes a third of the time, and those at the tolerance are off by 1 % or less.
    """
    squares = np.linalg.eigvalsh(matrix @ matrix.swapaxes(-1, -2))[..., ::-1]
    sizes: Array = np.sqrt(np.maximum(squares, 0.0))
    return sizes
