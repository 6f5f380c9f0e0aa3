r"""Spherical-harmonic moments of measures on S^2, and functions made from them.

A measure mu = sum_j w_j delta_{y_j} has the moments a_lm = int conj(Y_lm) dmu in the basis
orthonormal for surface measure. ducc0 computes them by a nonuniform fast transform, for real
measures with m >= 0 only; entries are ordered by m, then l (the healpy convention). Reducing them
over the ranks takes one sum of (L+1)(L+2)/2 complex numbers, whatever the number of points.
"""

from __future__ import annotations

from functools import lru_cache

from meanformer.mpi import MPI

import ducc0
import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.transforms import nonuniform
from meanformer.attention.transforms.nonuniform import LEAST_ERROR, OVERSAMPLING, Moments
from meanformer.serial import COMM_SELF


def angles(points: Array) -> Array:
    """Colatitude in [0, pi] and longitude in [0, 2 pi), in radians, of unit vectors.

    From ``shape=(n, 3)`` to ``shape=(n, 2)``.
    """
    x, y, z = points.T
    result = np.empty((len(points), 2))
    np.arctan2(np.hypot(x, y), z, out=result[:, 0])
    longitude = np.arctan2(y, x)
    # 2 pi - tiny rounds to 2 pi, which ducc0 accepts.
    np.add(longitude, 2 * np.pi * (longitude < 0), out=result[:, 1])
    return result


@lru_cache
def degrees(lmax: int) -> Indices:
    """The degree l of each entry of a set of moments, ``shape=((lmax+1)(lmax+2)/2,)``."""
    return np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])


def analyse(
    locations: Array,
    weights: Array,
    lmax: int,
    comm: MPI.Comm | None,
    crowded: bool = False,
    epsilon: float = LEAST_ERROR,
) -> Moments:
    """Moments of a weighted point measure up to degree ``lmax``.

    Collective over ``comm``.

    Args:
        locations: This rank's points as ``angles``, ``shape=(n, 2)``.
        weights: This rank's weights, ``shape=(n,)``.
        lmax: The largest degree.
        comm: The ranks over which the measure is distributed, or None.
        crowded: Whether thousands of this rank's points coincide (see ``nonuniform.crowded``);
            then the transform is done twice.
        epsilon: Error of the transform, relative to the sum of all |w|.

    Returns:
        The moments of the whole measure, ``shape=((lmax+1)(lmax+2)/2,)``.
    """
    jobs = [
        (part[share], locations[share])
        for part in (nonuniform.random_parts(weights) if crowded else (weights,))
        for share in nonuniform.shares(len(weights))
    ]

    def transform(job: tuple[Array, Array]) -> Moments:
        part, where = job
        return ducc0.sht.adjoint_synthesis_general(
            map=np.ascontiguousarray(part)[None],
            spin=0,
            lmax=lmax,
            loc=where,
            nthreads=1,
            epsilon=epsilon,
            **OVERSAMPLING,
        )[0]

    moments = nonuniform.sum_of_transforms(transform, jobs, (lmax + 1) * (lmax + 2) // 2)
    (comm or COMM_SELF).Allreduce(MPI.IN_PLACE, moments)
    return moments


def synthesise(
    moments: Moments,
    lmax: int,
    locations: Array,
    epsilon: float = LEAST_ERROR,
    gradient: bool = False,
) -> Array:
    """The function sum_lm a_lm Y_lm at the given ``angles``, or its surface gradient.

    Args:
        moments: ``shape=((lmax+1)(lmax+2)/2,)``.
        lmax: The largest degree; for a gradient, at least 1.
        locations: ``angles`` of the targets, ``shape=(m, 2)``.
        epsilon: Error of the transform.
        gradient: Whether the gradient is wanted in place of the function.

    Returns:
        ``shape=(1, m)``; of a gradient, components along increasing colatitude and longitude (unit
        vectors), ``shape=(2, m)``.
    """
    if not len(locations):
        return np.zeros((1 + gradient, 0))
    values: Array = ducc0.sht.synthesis_general(
        alm=moments[None],
        spin=int(gradient),
        lmax=lmax,
        loc=locations,
        nthreads=nonuniform.transform_threads(),
        mode="DERIV1" if gradient else "STANDARD",
        epsilon=epsilon,
        **OVERSAMPLING,
    )
    return values


def degree_power(first: Moments, second: Moments, lmax: int) -> Array:
    """Inner products degree by degree, sum_m a_lm conj(b_lm), of two real measures' moments.

    From two sets of moments, ``shape=((lmax+1)(lmax+2)/2,)``, to ``shape=(lmax+1,)``. By the
    addition theorem entry l is (2l+1)/(4 pi) times the double integral of P_l(<x, y>).
    """
    products = (first * second.conj()).real
    products[lmax + 1 :] *= 2  # the entries with m < 0 are the conjugates of those with m > 0
    power: Array = np.bincount(degrees(lmax), weights=products, minlength=lmax + 1).astype(float)
    return power
