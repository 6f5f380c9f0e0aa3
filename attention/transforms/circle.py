r"""Fourier moments of measures on the circle, and functions made from them.

A measure mu = sum_j w_j delta_{y_j}, y_j at the angle phi_j, has the moments
c_k = int e^{-ik phi} dmu; those with k < 0 are conjugates. ducc0 computes them by a nonuniform
fast Fourier transform. Reducing them over the ranks takes one sum of L + 1 complex numbers.
"""

from __future__ import annotations

from meanformer.mpi import MPI

import ducc0
import numpy as np

from meanformer.arrays import Array
from meanformer.attention.transforms import nonuniform
from meanformer.attention.transforms.nonuniform import LEAST_ERROR, OVERSAMPLING, Moments
from meanformer.serial import COMM_SELF


def angles(points: Array) -> Array:
    """The angles in [-pi, pi] of unit vectors of ``shape=(n, 2)``, ``shape=(n, 1)``."""
    return np.arctan2(points[:, 1], points[:, 0])[:, None]


def analyse(
    locations: Array,
    weights: Array,
    degree: int,
    comm: MPI.Comm | None,
    epsilon: float = LEAST_ERROR,
) -> Moments:
    """Moments of a weighted point measure up to ``degree``.

    Collective over ``comm``.

    Args:
        locations: This rank's points as ``angles``, ``shape=(n, 1)``.
        weights: This rank's weights, ``shape=(n,)``.
        degree: The largest k.
        comm: The ranks over which the measure is distributed, or None.
        epsilon: Error of the transform, relative to the sum of all |w|.

    Returns:
        c_k of the whole measure for k = 0..degree, ``shape=(degree+1,)``.
    """
    values = np.empty(len(weights), dtype=np.complex128)
    values.real, values.imag = nonuniform.random_parts(weights)
    size = 2 * degree + 1

    def transform(share: slice) -> Moments:
        return ducc0.nufft.nu2u(
            points=values[share],
            coord=locations[share],
            forward=True,
            out=np.empty(size, dtype=np.complex128),
            nthreads=1,
            epsilon=epsilon,
            **OVERSAMPLING,
        )

    modes = nonuniform.sum_of_transforms(transform, nonuniform.shares(len(weights)), size)
    # The modes are a + ib, a and b the moments of either part, whose modes -k are conjugates.
    positive, negative = modes[degree:], modes[degree::-1].conj()
    moments: Moments = (positive + negative) / 2 + (positive - negative) / 2j
    (comm or COMM_SELF).Allreduce(MPI.IN_PLACE, moments)
    return moments


def synthesise(moments: Moments, locations: Array, epsilon: float = LEAST_ERROR) -> Array:
    """The real functions sum_{|k| <= L} c_k e^{ik phi}, c_{-k} = conj(c_k), at given angles.

    Args:
        moments: c_k of each function for k = 0..L, ``shape=(s, L+1)``, c_0 real.
        locations: ``angles`` of the targets, ``shape=(m, 1)``.
        epsilon: Error of the transform.

    Returns:
        ``shape=(s, m)``.
    """
    count, modes = moments.shape
    values = np.empty((count + count % 2, len(locations)))
    if not len(locations):
        return values[:count]
    grid = np.empty(2 * modes - 1, dtype=np.complex128)
    for pair in range(0, count, 2):
        # Two real functions are the real and the imaginary part of one complex function.
        first = moments[pair]
        second = moments[pair + 1] if pair + 1 < count else np.zeros_like(first)
        grid[modes - 1 :] = first + 1j * second
        grid[: modes - 1] = (first.conj() + 1j * second.conj())[:0:-1]
        both = ducc0.nufft.u2nu(
            grid=grid,
            coord=locations,
            forward=False,
            nthreads=nonuniform.transform_threads(),
            epsilon=epsilon,
            **OVERSAMPLING,
        )
        values[pair], values[pair + 1] = both.real, both.imag
    return values[:count]
