r"""The harmonic backend: attention on S^2 with logits beta <x, y>, in linear time.

By Funk-Hecke, e^{beta <x,y>} = sum_l 4 pi i_l(beta) sum_m Y_lm(x) conj(Y_lm(y)) with i_l the
modified spherical Bessel functions, so that

    Z(x) = int e^{beta <x,y>} mu(dy) = sum_lm 4 pi i_l(beta) a_lm Y_lm(x),
    P_x int y e^{beta <x,y>} mu(dy) = grad Z(x) / beta.

Everything is scaled by e^{-|beta|}, the largest value of the kernel, against overflow.
"""

from __future__ import annotations

from functools import lru_cache

from mpi4py import MPI

import numpy as np
from scipy.special import ive

from meanformer.attention import harmonics
from meanformer.attention.spaces import Array

#: Absolute error of the scaled Z and of its scaled moments, for a measure of mass one.
ABSOLUTE_ERROR = 1e-13


def scaled_bessel(beta: float, lmax: int) -> Array:
    """e^{-|beta|} i_l(beta) for l = 0..lmax (modified spherical Bessel functions).

    Args:
        beta: Any real number, dimensionless.
        lmax: The largest degree.

    Returns:
        ``shape=(lmax+1,)``.
    """
    degree = np.arange(lmax + 1)
    size = abs(beta)
    if size == 0:
        return np.where(degree == 0, 1.0, 0.0)
    values = np.sqrt(np.pi / (2 * size)) * ive(degree + 0.5, size)
    return values * np.sign(beta) ** degree


def scaled_slopes(beta: float, lmax: int) -> Array:
    """e^{-|beta|} i_l(beta) / beta for l = 0..lmax, with its limit at beta = 0.

    The entry for l = 0 is set to zero: the gradient of a constant vanishes.
    """
    if abs(beta) < 1e-16:  # i_l(beta)/beta = O(beta^{l-1}), and 1/3 for l = 1
        return np.where(np.arange(lmax + 1) == 1, 1 / 3, 0.0)
    slopes = scaled_bessel(beta, lmax) / beta
    return np.where(np.arange(lmax + 1) == 0, 0.0, slopes)


@lru_cache
def degree_for(beta: float) -> int:
    """Smallest degree at which the expansion of e^{beta t} and of its slope are at round-off.

    The first L with sum_{l >= L} (2l+1) max(1, l) |i_l(beta)| e^{-|beta|} below 1e-16. Degree L is
    kept: what is left out of the slope, i_l(beta)/beta from l = L + 1, is of the order of i_L.
    """
    size = abs(beta)
    top = int(24 + 12 * np.sqrt(size) + min(size, 40.0))
    degree = np.arange(top + 1)
    terms = (2 * degree + 1) * np.abs(scaled_bessel(size, top)) * np.maximum(1, degree)
    tails = np.cumsum(terms[::-1])[::-1]
    if not tails[-1] < 1e-16:
        raise ValueError(f"beta is {beta}; its expansion does not converge in double precision")
    return max(2, int(np.argmax(tails < 1e-16)))


@lru_cache
def _multipliers(beta: float) -> tuple[int, Array, Array]:
    """The degree, and what each moment is multiplied by for Z and for its slope."""
    degree = degree_for(beta)
    by_entry = harmonics.degrees(degree)
    kernel, slopes = (4 * np.pi * f(beta, degree)[by_entry] for f in (scaled_bessel, scaled_slopes))
    return degree, kernel, slopes


class HarmonicField:
    """Scaled Z and tangential first moment of a measure on fixed points, at fixed targets.

    Args:
        targets: This rank's targets, unit vectors, ``shape=(m, 3)``.
        points: This rank's points, unit vectors, ``shape=(n, 3)``.
        beta: Inverse temperature, dimensionless.
        comm: The ranks over which the points are distributed, or None.
    """

    def __init__(self, targets: Array, points: Array, beta: float, comm: MPI.Comm | None) -> None:
        """Compute angles and tangent frames once."""
        self._comm = comm
        self._points = harmonics.angles(points)
        self._targets = self._points if targets is points else harmonics.angles(targets)
        (sin_colatitude, sin_longitude), (cos_colatitude, cos_longitude) = (
            np.sin(self._targets.T),
            np.cos(self._targets.T),
        )
        self._frame = np.stack(
            [
                np.stack(
                    [
                        cos_colatitude * cos_longitude,
                        cos_colatitude * sin_longitude,
                        -sin_colatitude,
                    ],
                    axis=1,
                ),
                np.stack([-sin_longitude, cos_longitude, np.zeros_like(sin_longitude)], axis=1),
            ]
        )
        self.degree, self._kernel, self._slopes = _multipliers(beta)

    def __call__(self, weights: Array) -> tuple[Array, Array]:
        """Evaluate for one set of weights. Collective over ``comm``.

        Args:
            weights: This rank's weights, ``shape=(n,)``.

        Returns:
            e^{-|beta|} Z, ``shape=(m,)``, and e^{-|beta|} P_x int y e^{beta<x,y>} mu(dy),
            ``shape=(m, 3)``.
        """
        moments = harmonics.analyse(self._points, weights, self.degree, self._comm)
        partition = harmonics.synthesise(self._kernel * moments, self.degree, self._targets)
        slope = harmonics.synthesise_gradient(self._slopes * moments, self.degree, self._targets)
        along_colatitude, along_longitude = slope[0][:, None], slope[1][:, None]
        return partition, along_colatitude * self._frame[0] + along_longitude * self._frame[1]
