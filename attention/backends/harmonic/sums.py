r"""The harmonic backend: sums of zonal kernels on the circle and the sphere, in linear time.

By Funk-Hecke (module ``eigenvalues``) Z(x) = sum_j w_j k(<x, y_j>) and
M(x) = sum_j w_j k(<x, y_j>) y_j are expansions in the harmonics of the measure's own moments. Their
error is relative to the largest value of the kernel; targets where Z is too small for the tolerance
are summed directly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.direct.sums import DirectSums
from meanformer.attention.backends.harmonic.eigenvalues import (
    LARGEST_DEGREE,
    multiplicities,
    radial,
    slopes,
)
from meanformer.attention.backends.harmonic.transforms import (
    CircleTransforms,
    Multipliers,
    SphereTransforms,
    Transforms,
)
from meanformer.attention.backends.kernels import Kernel
from meanformer.attention.spaces import Sphere
from meanformer.attention.transforms.nonuniform import LEAST_ERROR, MODERATE_ERROR, Moments

# The transforms' own errors are not always as well spread as the moments of the measure.
LEAST_AMPLITUDE = 0.15


@lru_cache
def degree_for(kernel: Kernel, slope: float, dimension: int) -> int | None:
    """The degree at which the expansion of a kernel is at round-off.

    Args:
        kernel: A function of slope t.
        slope: Of any sign, dimensionless.
        dimension: 2 for the circle, 3 for the sphere.

    Returns:
        A degree L, at least 2, such that all terms of k beyond it add up to less than 1e-16 of
        its largest value; None if that takes more than ``LARGEST_DEGREE``.
    """
    degree = kernel.degree(slope, dimension)
    return max(2, degree) if degree is not None and degree <= LARGEST_DEGREE[dimension] else None


def absolute_error(degree: int, dimension: int, epsilon: float = LEAST_ERROR) -> float:
    """Error of Z / k_max and of its moment by transforms, for a measure of mass one at one point.

    Measured, at poles and other points of the transforms' grids, where it is largest; for other
    measures the error is proportional to the size of their moments.
    """
    return 2.5 * epsilon + (4e-17 * degree if dimension == 2 else 6e-19 * degree**2)


def _transform_error(slope: float, degree: int, dimension: int, tolerance: float) -> float:
    """The moderate error where it is within tolerance even of the kernel's least values."""
    least = tolerance * np.exp(-2 * abs(slope))
    fine = absolute_error(degree, dimension, MODERATE_ERROR) < least
    return MODERATE_ERROR if fine else LEAST_ERROR


class HarmonicSums:
    """``Backend`` for zonal kernels on S^1 and S^2; see ``sums``.

    Args:
        targets: This rank's targets x, unit vectors, ``shape=(m, d)``, d = 2 or 3.
        points: This rank's points y, unit vectors, ``shape=(n, d)``.
        kernel: A function of the logits slope <x, y>, one for which ``degree_for`` gives a degree.
        slope: Of any sign, dimensionless.
        tolerance: Of Z, relative, and of the moment, relative to Z; where weights have both
            signs, relative to sum_j |w_j| k(<x, y_j>).
        comm: The ranks over which the points are distributed, or None.
        tangential: Whether moments are P_x M(x) only, which costs one transform less.
    """

    def __init__(
        self,
        targets: Array,
        points: Array,
        kernel: Kernel,
        slope: float,
        tolerance: float,
        comm: MPI.Comm | None,
        tangential: bool,
    ) -> None:
        """Compute angles and eigenvalues."""
        self._targets, self._points, self._comm = targets, points, comm
        self._kernel, self._slope = kernel, slope
        self._tolerance, self._tangential = tolerance, tangential
        self._dimension = d = points.shape[1]
        degree = degree_for(kernel, slope, d)
        if degree is None:
            raise ValueError(f"{kernel} of {slope:g} t takes too many harmonics")
        self.degree = degree
        eigenvalue = kernel.eigenvalues(slope, degree + 1, d)
        self._multipliers = Multipliers(
            eigenvalue[:-1], slopes(eigenvalue, d), None if tangential else radial(eigenvalue, d)
        )
        self._terms = multiplicities(degree, d) * np.abs(eigenvalue[:-1])
        self._epsilon = _transform_error(slope, degree, d, tolerance)
        transforms = CircleTransforms if d == 2 else SphereTransforms
        self._transforms: Transforms = transforms(targets, points, degree, comm, self._epsilon)
        self._log_largest = kernel.log_largest(slope)

    def sums(self, weights: Array, log_factors: Array | None = None) -> Sums:
        """See ``Backend``; moments are tangential if asked for so. Collective."""
        measure = self._measure(weights, log_factors)
        partition, moment = self._transforms.sums(measure.moments, self._multipliers)
        log_scale = np.full(len(partition), self._log_largest + measure.log_factor)
        far = self._far(partition, measure)
        if far is not None:
            log_scale[far], partition[far], full = self._direct(far).sums(*measure.given)
            space = Sphere(self._dimension)
            moment[far] = space.tangent(self._targets[far], full) if self._tangential else full
        return Sums(log_scale, partition, moment)

    def partition(self, weights: Array, log_factors: Array | None = None) -> tuple[Array, Array]:
        """See ``Backend``. Collective."""
        measure = self._measure(weights, log_factors)
        partition = self._transforms.partition(measure.moments, self._multipliers.kernel)
        log_scale = np.full(len(partition), self._log_largest + measure.log_factor)
        far = self._far(partition, measure)
        if far is not None:
            log_scale[far], partition[far] = self._direct(far).partition(*measure.given)
        return log_scale, partition

    def _measure(self, weights: Array, log_factors: Array | None) -> _Measure:
        """Analyse the weights, scaled by the largest factor of any rank."""
        given, log_factor = (weights, log_factors), 0.0
        if log_factors is not None:
            exponents = np.where(weights != 0, log_factors, -np.inf)
            log_factor = self._reduce(float(np.max(exponents, initial=-np.inf)), MPI.MAX)
            log_factor = log_factor if log_factor > -np.inf else 0.0
            weights = weights * np.exp(exponents - log_factor)
        total = self._reduce(float(np.abs(weights).sum()), MPI.SUM)
        return _Measure(given, log_factor, total, self._transforms.moments(weights))

    def _far(self, partition: Array, measure: _Measure) -> Indices | None:
        """Indices of this rank's targets whose Z is too small; None if no rank has any."""
        amplitudes = np.maximum(
            self._transforms.amplitudes(measure.moments), LEAST_AMPLITUDE * measure.total
        )
        error = absolute_error(self.degree, self._dimension, self._epsilon)
        error *= float(self._terms @ amplitudes)
        far = np.flatnonzero(np.abs(partition) * self._tolerance < error)
        return far if self._reduce(len(far), MPI.SUM) else None

    def _direct(self, far: Indices) -> DirectSums:
        """The direct sums at some targets. Collective."""
        queries = self._slope * self._targets[far]
        return DirectSums(queries, self._points, self._comm, self._kernel)

    def _reduce(self, number: float, operation: MPI.Op) -> float:
        return number if self._comm is None else self._comm.allreduce(number, op=operation)


class _Measure(NamedTuple):
    """Weights and factors as given, and all ranks' sum of |w| and moments by e^{-log_factor}."""

    given: tuple[Array, Array | None]
    log_factor: float
    total: float
    moments: Moments


def harmonic_cost(
    degree: int, points: int, targets: int, dimension: int, tangential: bool
) -> float:
    """Seconds that one ``sums`` takes on one core, its share of preparation included.

    Args:
        degree: What ``degree_for`` gives.
        points: Number of points.
        targets: Number of targets.
        dimension: 2 for the circle, 3 for the sphere.
        tangential: Whether the moment's radial part is left out.
    """
    # Measured on one core of an EPYC (Zen 5) at 2.6 GHz. A gradient counts as two transforms.
    if dimension == 2:
        per_target, transforms = (2.8e-8, 2) if tangential else (5e-8, 3)
        per_transform = 4e-8 * degree
        return 1e-4 + transforms * per_transform + 2.2e-8 * points + per_target * targets
    per_target, transforms = (1.1e-7, 4) if tangential else (1.45e-7, 5)
    per_transform = (3e-8 + 6e-11 * degree) * degree**2
    return 1.5e-4 + transforms * per_transform + 8e-8 * points + per_target * targets
