r"""Moments of many measures of few points: direct sums, of all measures at once.

A transform of its own for each of them would take longer to begin than to sum.
"""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.transforms.nonuniform import Moments


def of_circle(points: Array, weights: Array, degree: int) -> Array:
    """The |c_k| of ``circle.analyse``, ``shape=(systems, degree+1)``.

    Args:
        points: On the circle, ``shape=(systems, n, 2)``.
        weights: ``shape=(systems, n)``.
        degree: The largest k.
    """
    turns = points[..., 0] - 1j * points[..., 1]
    waves, sizes = weights.astype(complex), []
    for _ in range(degree + 1):
        sizes.append(np.abs(waves.sum(axis=1)))
        waves = waves * turns
    return np.stack(sizes, axis=1)


def of_sphere(points: Array, weights: Array, degree: int) -> Array:
    """Sums over m of |a_lm|^2 of ``sphere.analyse``, ``shape=(systems, degree+1)``.

    The harmonics are (x + iy)^m times a polynomial in z: with Y_mm = c_m (x + iy)^m,
    Y_lm = a z Y_{l-1,m} - b Y_{l-2,m}, a^2 = (4 l^2 - 1) / (l^2 - m^2), b = a / a_{l-1}.

    Args:
        points: On the sphere, ``shape=(systems, n, 3)``.
        weights: ``shape=(systems, n)``.
        degree: The largest l.
    """
    turns, heights = points[..., 0] - 1j * points[..., 1], points[..., 2]
    powers = np.zeros((len(points), degree + 1))
    sectoral: Moments = weights / np.sqrt(4 * np.pi) + 0j
    for m in range(degree + 1):
        if m:
            sectoral = np.sqrt((2 * m + 1) / (2 * m)) * turns * sectoral
        before, harmonic, last = np.zeros_like(sectoral), sectoral, 1.0
        for k in range(m, degree + 1):
            if k > m:
                factor = np.sqrt((4 * k * k - 1) / (k * k - m * m))
                following = factor * (heights * harmonic - before / last)
                before, harmonic, last = harmonic, following, factor
            powers[:, k] += (2 if m else 1) * np.abs(harmonic.sum(axis=1)) ** 2
    return powers
