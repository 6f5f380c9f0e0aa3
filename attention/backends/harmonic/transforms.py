"""Sums of zonal kernels over measures on the circle and the sphere, by transforms.

One analysis of the weighted points, multiplication by eigenvalues, and a synthesis for each
function wanted: Z, the tangential part of the moment and, where asked for, its radial part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from meanformer.mpi import MPI

import numba
import numpy as np

from meanformer.arrays import Array
from meanformer.attention.transforms import circle, sphere
from meanformer.attention.transforms.nonuniform import Moments, crowded

# Quotients of smaller numbers lose digits.
_AT_POLE = 1e-290


class Multipliers(NamedTuple):
    """The eigenvalues of degrees 0..L of the kernels that make up Z and M (module ``eigenvalues``).

    Attributes:
        kernel: Those of k.
        slopes: Those of K, K' = k: grad K * mu is the tangential part of M. None where M is not
            wanted.
        radial: Those of t k(t), for the radial part of M; None where it is not wanted.
    """

    kernel: Array
    slopes: Array | None = None
    radial: Array | None = None


class Transforms(ABC):
    """A circle's or a sphere's transforms, prepared for fixed targets and points.

    Args:
        targets: This rank's targets, unit vectors, ``shape=(m, d)``.
        points: This rank's points, unit vectors, ``shape=(n, d)``.
        degree: The largest degree L.
        comm: The ranks over which the points are distributed.
        epsilon: Error of the transforms.
    """

    # From unit vectors to what the transforms take.
    _angles: Callable[[Array], Array]

    def __init__(
        self, targets: Array, points: Array, degree: int, comm: MPI.Comm, epsilon: float
    ) -> None:
        self._directions, self._degree, self._comm = targets, degree, comm
        self._epsilon = epsilon
        self._points = self._angles(points)
        self._targets = self._points if targets is points else self._angles(targets)

    @abstractmethod
    def moments(self, weights: Array) -> Moments:
        """Moments of the measure with these weights, ``shape=(n,)``. Collective."""

    @abstractmethod
    def amplitudes(self, moments: Moments) -> Array:
        """The size of the moments of each degree, at most sum_j |w_j|, ``shape=(L+1,)``."""

    @abstractmethod
    def sums(self, moments: Moments, multipliers: Multipliers) -> tuple[Array, Array]:
        """Z at the targets, ``shape=(m,)``, and of M what is wanted, ``shape=(m, d)`` or (m, 0)."""


class CircleTransforms(Transforms):
    """``Transforms`` on S^1."""

    _angles = staticmethod(circle.angles)

    def moments(self, weights: Array) -> Moments:
        """See ``Transforms``."""
        return circle.analyse(self._points, weights, self._degree, self._comm, self._epsilon)

    def amplitudes(self, moments: Moments) -> Array:
        """|c_k|."""
        return np.abs(moments)

    def sums(self, moments: Moments, multipliers: Multipliers) -> tuple[Array, Array]:
        """See ``Transforms``."""
        kernel, slopes, radial = multipliers
        functions = [kernel * moments]
        if slopes is not None:
            functions.append(1j * np.arange(self._degree + 1) * slopes * moments)
        if radial is not None:
            functions.append(radial * moments)
        partition, *parts = circle.synthesise(np.stack(functions), self._targets, self._epsilon)
        if not parts:
            return partition, np.empty((len(partition), 0))
        x, y = self._directions.T
        moment = np.stack([-y * parts[0], x * parts[0]], axis=1)
        if radial is not None:
            moment += parts[1][:, None] * self._directions
        return partition, moment


class SphereTransforms(Transforms):
    """``Transforms`` on S^2."""

    _angles = staticmethod(sphere.angles)

    def __init__(
        self, targets: Array, points: Array, degree: int, comm: MPI.Comm, epsilon: float
    ) -> None:
        super().__init__(targets, points, degree, comm, epsilon)
        self._by_entry, self._crowded = sphere.degrees(degree), crowded(points)
        self._frames = _frames(targets, self._targets[:, 1])

    def moments(self, weights: Array) -> Moments:
        """See ``Transforms``."""
        return sphere.analyse(
            self._points, weights, self._degree, self._comm, self._crowded, self._epsilon
        )

    def amplitudes(self, moments: Moments) -> Array:
        """(4 pi / (2l+1) sum_m |a_lm|^2)^{1/2}."""
        power = sphere.degree_power(moments, moments, self._degree)
        return np.sqrt(4 * np.pi * power / (2 * np.arange(self._degree + 1) + 1))

    def sums(self, moments: Moments, multipliers: Multipliers) -> tuple[Array, Array]:
        """See ``Transforms``."""
        kernel, slopes, radial = multipliers
        where = self._degree, self._targets, self._epsilon
        (partition,) = sphere.synthesise(self._times(kernel, moments), *where)
        if slopes is None:
            return partition, np.empty((len(partition), 0))
        slope = self._times(slopes, moments)
        southward, eastward = sphere.synthesise(slope, *where, gradient=True)
        moment = np.empty_like(self._directions)
        _combine(self._frames, southward, eastward, moment)
        if radial is not None:
            (along,) = sphere.synthesise(self._times(radial, moments), *where)
            moment += along[:, None] * self._directions
        return partition, moment

    def _times(self, eigenvalue: Array, moments: Moments) -> Moments:
        # 4 pi: the harmonics are orthonormal for surface measure, not for its mean.
        return (4 * np.pi * eigenvalue)[self._by_entry] * moments


def _frames(directions: Array, longitude: Array) -> Array:
    """Cosine and sine of colatitude, then of longitude, of unit vectors, ``shape=(m, 4)``."""
    x, y, z = directions.T
    radius = np.hypot(x, y)
    frames = np.column_stack([z, radius, np.cos(longitude), np.sin(longitude)])
    off_pole = radius > _AT_POLE
    frames[off_pole, 2:] = directions[off_pole, :2] / radius[off_pole, None]
    return frames


@numba.njit(cache=True)
def _combine(frames, southward, eastward, tangents):  # type: ignore[no-untyped-def]
    """Of each target, its components times the unit vectors of its meridian and parallel."""
    for i in range(len(frames)):
        cos_colatitude, sin_colatitude, cos_longitude, sin_longitude = frames[i]
        level = cos_colatitude * southward[i]
        tangents[i, 0] = cos_longitude * level - sin_longitude * eastward[i]
        tangents[i, 1] = sin_longitude * level + cos_longitude * eastward[i]
        tangents[i, 2] = -sin_colatitude * southward[i]
