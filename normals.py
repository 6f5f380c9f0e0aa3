"""Normal random numbers that have a place of their own, whoever draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from meanformer.arrays import Array

# Uniform numbers are multiples of 2^-53; this one stands for 0, whose quantile is infinite.
_LEAST = 2.0**-54


def normal_numbers(first: int, count: int, columns: int, seed: int, key: Sequence[int]) -> Array:
    """Standard normal numbers of the rows first, first+1, ... of a stream.

    They depend on a row's number, its length, the seed and the key alone: ranks that share rows
    draw the same as one that has them all, and a run that goes on the same as one never cut.

    Args:
        first: Number of the first row.
        count: Number of rows.
        columns: Numbers of a row.
        seed: Of all streams, not negative.
        key: Which stream, of numbers that are not negative, and at least one: what has a key is
            independent of what is drawn from the seed without one.

    Returns:
        ``shape=(count, columns)``.
    """
    stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(key)))
    stream.advance(columns * first)  # one draw a double
    uniforms = np.random.Generator(stream).random((count, columns))
    normals: Array = ndtri(np.maximum(uniforms, _LEAST))
    return normals
