r"""The harmonic backend: sums of zonal kernels on the circle and the sphere, in linear time.

By Funk-Hecke (module ``eigenvalues``) Z(x) = sum_j w_j k(<x, y_j>) and
M(x) = sum_j w_j k(<x, y_j>) y_j are expansions in the harmonics of the measure's own moments. Their
error is relative to the largest value of the kernel; targets where Z is too small for the tolerance
are summed directly.
"""

from __future__ import annotations

from functools import lru_cache

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.direct.sums import DirectSums
from meanformer.attention.backends.harmonic import eigenvalues, transforms
from meanformer.attention.backends.kernels import Kernel
from meanformer.attention.spaces import Sphere
from meanformer.attention.transforms.nonuniform import LEAST_ERROR, MODERATE_ERROR, Moments

# The transforms' own errors are not always as well spread as the moments of the measure.
LEAST_AMPLITUDE = 0.15


@lru_cache
def degree_for(kernel: Kernel, slope: float, dimension: int) -> int | None:
    """The degree L >= 2 at which the expansion of a kernel of slope t is at round-off.

    All terms beyond it add up to less than 1e-16 of the kernel's largest value; None if that takes
    more than ``LARGEST_DEGREE``. The dimension is 2 for the circle, 3 for the sphere.
    """
    degree = kernel.degree(slope, dimension)
    if degree is None or degree > eigenvalues.LARGEST_DEGREE[dimension]:
        return None
    return max(2, degree)


def absolute_error(degree: int, dimension: int, epsilon: float = LEAST_ERROR) -> float:
    """Error of Z / k_max and of its moment by transforms, for a measure of mass one at one point.

    Measured at poles and other points of the transforms' grids, where it is largest; for other
    measures it is proportional to the size of their moments.
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
        comm: The ranks over which the points are distributed.
        tangential: Whether moments are P_x M(x) only, which costs one transform less.
    """

    def __init__(
        self,
        targets: Array,
        points: Array,
        kernel: Kernel,
        slope: float,
        tolerance: float,
        comm: MPI.Comm,
        tangential: bool,
    ) -> None:
        self._targets, self._points, self._comm = targets, points, comm
        self._kernel, self._slope = kernel, slope
        self._tolerance, self._tangential = tolerance, tangential
        self._dimension = d = points.shape[1]
        degree = degree_for(kernel, slope, d)
        if degree is None:
            raise ValueError(f"{kernel} of {slope:g} t takes too many harmonics")
        self.degree = degree
        values = kernel.eigenvalues(slope, degree + 1, d)
        radial = None if tangential else eigenvalues.radial(values, d)
        slopes = eigenvalues.slopes(values, d)
        self._multipliers = transforms.Multipliers(values[:-1], slopes, radial)
        self._terms = eigenvalues.multiplicities(degree, d) * np.abs(values[:-1])
        self._epsilon = _transform_error(slope, degree, d, tolerance)
        kind = transforms.CircleTransforms if d == 2 else transforms.SphereTransforms
        self._transforms: transforms.Transforms = kind(targets, points, degree, comm, self._epsilon)
        self._log_largest = kernel.log_largest(slope)

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``; moments are tangential if asked for so."""
        scaled, log_factor = weights, 0.0
        if log_factors is not None:
            exponents = np.where(weights != 0, log_factors, -np.inf)
            log_factor = float(np.max(exponents, initial=-np.inf))
            log_factor = self._comm.allreduce(log_factor, op=MPI.MAX)
            log_factor = log_factor if log_factor > -np.inf else 0.0
            scaled = weights * np.exp(exponents - log_factor)
        moments = self._transforms.moments(scaled)
        multipliers = self._multipliers
        if not moment:
            multipliers = multipliers._replace(slopes=None, radial=None)
        partition, vectors = self._transforms.sums(moments, multipliers)
        log_scale = np.full(len(partition), self._log_largest + log_factor)
        far = np.flatnonzero(np.abs(partition) * self._tolerance < self._error(scaled, moments))
        if self._comm.allreduce(len(far)):
            direct = self._direct(far).sums(weights, log_factors, moment)
            log_scale[far], partition[far], vectors[far] = direct
            if self._tangential and moment:
                space = Sphere(self._dimension)
                vectors[far] = space.tangent(self._targets[far], direct.moment)
        return Sums(log_scale, partition, vectors)

    def _error(self, weights: Array, moments: Moments) -> float:
        """What Z by transforms may be off by, over the kernel's largest value. Collective."""
        total = self._comm.allreduce(float(np.abs(weights).sum()))
        amplitudes = np.maximum(self._transforms.amplitudes(moments), LEAST_AMPLITUDE * total)
        error = absolute_error(self.degree, self._dimension, self._epsilon)
        return error * float(self._terms @ amplitudes)

    def _direct(self, far: Indices) -> DirectSums:
        """The direct sums at some targets. Collective."""
        queries = self._slope * self._targets[far]
        return DirectSums(queries, self._points, self._comm, self._kernel)


def harmonic_cost(
    degree: int, points: int, targets: int, dimension: int, tangential: bool
) -> float:
    """Seconds that one ``sums`` takes on one core, its share of preparation included.

    The degree is what ``degree_for`` gives; points and targets are numbers of them.
    """
    # Measured on one core of an EPYC (Zen 5) at 2.6 GHz. A gradient counts as two transforms.
    if dimension == 2:
        per_target, transforms = (2.8e-8, 2) if tangential else (5e-8, 3)
        per_transform = 4e-8 * degree
        return 1e-4 + transforms * per_transform + 2.2e-8 * points + per_target * targets
    per_target, transforms = (1.1e-7, 4) if tangential else (1.45e-7, 5)
    per_transform = (3e-8 + 6e-11 * degree) * degree**2
    return 1.5e-4 + transforms * per_transform + 8e-8 * points + per_target * targets
