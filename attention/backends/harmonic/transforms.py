"""Sums of zonal kernels over measures on the circle and the sphere, by transforms.

One analysis of the weighted points, multiplication by eigenvalues, and a synthesis for each
function wanted: Z, the tangential part of the moment and, where asked for, its radial part.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

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
        slopes: Those of K, K' = k: grad K * mu is the tangential part of M.
        radial: Those of t k(t), for the radial part of M; None where it is not wanted.
    """

    kernel: Array
    slopes: Array
    radial: Array | None


class Transforms(Protocol):
    """A circle's or a sphere's transforms, prepared for fixed targets and points."""

    def moments(self, weights: Array) -> Moments:
        """Moments of the measure with these weights, ``shape=(n,)``. Collective."""
        ...

    def amplitudes(self, moments: Moments) -> Array:
        """The size of the moments of each degree, at most sum_j |w_j|, ``shape=(L+1,)``."""
        ...

    def partition(self, moments: Moments, eigenvalue: Array) -> Array:
        """sum_j w_j k(<x, y_j>) at the targets, ``shape=(m,)``."""
        ...

    def sums(self, moments: Moments, multipliers: Multipliers) -> tuple[Array, Array]:
        """Z, ``shape=(m,)``, and M or its tangential part, ``shape=(m, d)``."""
        ...


class CircleTransforms:
    """``Transforms`` on S^1.

    Args:
        targets: This rank's targets, unit vectors, ``shape=(m, 2)``.
        points: This rank's points, unit vectors, ``shape=(n, 2)``.
        degree: The largest degree L.
        comm: The ranks over which the points are distributed, or None.
        epsilon: Error of the transforms.
    """

    def __init__(
        self, targets: Array, points: Array, degree: int, comm: MPI.Comm | None, epsilon: float
    ) -> None:
        """Compute angles once."""
        self._epsilon = epsilon
        self._comm, self._degree, self._directions = comm, degree, targets
        self._points = circle.angles(points)
        self._targets = self._points if targets is points else circle.angles(targets)

    def moments(self, weights: Array) -> Moments:
        """See ``Transforms``."""
        return circle.analyse(self._points, weights, self._degree, self._comm, self._epsilon)

    def amplitudes(self, moments: Moments) -> Array:
        """|c_k|."""
        return np.abs(moments)

    def partition(self, moments: Moments, eigenvalue: Array) -> Array:
        """See ``Transforms``."""
        return self._synthesise((eigenvalue * moments)[None])[0]

    def sums(self, moments: Moments, multipliers: Multipliers) -> tuple[Array, Array]:
        """See ``Transforms``."""
        derivative = 1j * np.arange(self._degree + 1)
        functions = [multipliers.kernel * moments, derivative * multipliers.slopes * moments]
        if multipliers.radial is not None:
            functions.append(multipliers.radial * moments)
        partition, slope, *radial = self._synthesise(np.stack(functions))
        x, y = self._directions.T
        moment = np.stack([-y * slope, x * slope], axis=1)
        if radial:
            moment += radial[0][:, None] * self._directions
        return partition, moment

    def _synthesise(self, moments: Moments) -> Array:
        return circle.synthesise(moments, self._targets, self._epsilon)


class SphereTransforms:
    """``Transforms`` on S^2.

    Args:
        targets: This rank's targets, unit vectors, ``shape=(m, 3)``.
        points: This rank's points, unit vectors, ``shape=(n, 3)``.
        degree: The largest degree L.
        comm: The ranks over which the points are distributed, or None.
        epsilon: Error of the transforms.
    """

    def __init__(
        self, targets: Array, points: Array, degree: int, comm: MPI.Comm | None, epsilon: float
    ) -> None:
        """Compute angles once."""
        self._epsilon = epsilon
        self._comm, self._degree, self._directions = comm, degree, targets
        self._by_entry = sphere.degrees(degree)
        self._points, self._crowded = sphere.angles(points), crowded(points)
        self._targets = self._points if targets is points else sphere.angles(targets)
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

    def partition(self, moments: Moments, eigenvalue: Array) -> Array:
        """See ``Transforms``."""
        scaled = self._times(eigenvalue, moments)
        return sphere.synthesise(scaled, self._degree, self._targets, self._epsilon)

    def sums(self, moments: Moments, multipliers: Multipliers) -> tuple[Array, Array]:
        """See ``Transforms``."""
        partition = self.partition(moments, multipliers.kernel)
        southward, eastward = sphere.synthesise_gradient(
            self._times(multipliers.slopes, moments), self._degree, self._targets, self._epsilon
        )
        moment = np.empty_like(self._directions)
        _combine(self._frames, southward, eastward, moment)
        if multipliers.radial is not None:
            radial = self.partition(moments, multipliers.radial)
            moment += radial[:, None] * self._directions
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
