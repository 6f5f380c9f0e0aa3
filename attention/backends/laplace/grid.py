r"""The grids of the Laplace backend: boxes fine enough for a tolerance, and what they cost.

In dimension k, <xi, y> has the term xi_k y_k with |xi_k| <= a, |y_k| <= b about the centres of both
ranges. Cut into m boxes each, with z = ab/m, a box of the points sees e^{xi t}, |xi t| <= z, for
every xi; so does a box of the queries for every y. Interpolation at p Chebyshev nodes then has an
error relative to e^{xi y} itself that depends on z and p alone.

A full grid has a matrix a dimension between all of its boxes. Where it would be too large, only
the boxes that hold something are kept, and pairs of them are taken one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from meanformer.mpi import MPI

import numpy as np
from scipy.special import iv

from meanformer.arrays import Array
from meanformer.attention.backends.laplace.boxes import KeptBoxes, Rectangle, countable
from meanformer.attention.backends.laplace.cost import (
    LARGEST_GRID,
    seconds_of_grid,
    seconds_of_kept,
)

#: Round-off adds up to a few times this.
SMALLEST_TOLERANCE = 1e-12
# Round-off that may be reached where the tolerance is larger: ranks agree to it.
_ROUND_OFF = 1e-12
# Half-widths relative to the largest coordinate, whose round-off they are well above.
_RESOLVED = 1e-12
# In a larger box round-off in one dimension alone exceeds it.
_LARGEST_Z = 2.0
# A full grid does not depend on how many points and targets there are, so that messages do not.
_TYPICAL = 100_000
# Kept boxes have the least degree with which one takes this exponent.
_EXPONENT_OF_KEPT = 1.0
# Seconds of a full grid from which on the boxes that hold something are counted.
_WORTH_COUNTING = 0.3


def interpolation_error(z: float, p: int) -> float:
    r"""Error of e^{z s t} interpolated at p Chebyshev nodes in s, relative to its values.

    From the Jacobi-Anger series e^{zt} = sum_k (2 - delta_k0) I_k(z) T_k(t): the coefficients from
    p on are lost, and folded back once. The slope in s, over z > 0, counts as well.
    """
    k = np.arange(p, p + 40)
    return float(4 * np.exp(z) * np.sum((1 + k**2 / z) * iv(k, z)))


@lru_cache
def _largest_exponent(p: int, error: float) -> float:
    """The largest z <= 4 with ``interpolation_error(z, p)`` below ``error``, or zero."""
    low, high = 0.0, 4.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if interpolation_error(middle, p) < error else (low, middle)
    return low


def _evenly(exponents: Array, total: float) -> float:
    """The largest z with sum_k min(X_k, z) <= total."""
    remaining, count = total, len(exponents)
    for x in np.sort(exponents):
        if x * count > remaining:
            return float(remaining / count)
        remaining, count = remaining - x, count - 1
    return math.inf


@dataclass(frozen=True)
class Grid:
    """Boxes about all queries and all points.

    Attributes:
        queries: The rectangle of all queries, whose half-widths are positive.
        points: That of all points, likewise.
        boxes: Number of boxes by dimension, the same for queries and points.
            None at all, and no degree, where no grid fits.
        degree: Number of Chebyshev nodes in a box, a dimension; a multiple of 4.
        kept: The boxes that hold something; None where all boxes are kept.
    """

    queries: Rectangle
    points: Rectangle
    boxes: tuple[int, ...]
    degree: int
    kept: KeptBoxes | None = None

    @classmethod
    def fit(
        cls,
        queries: Array,
        points: Array,
        tolerance: float,
        comm: MPI.Comm,
        log_factors: Array | None = None,
    ) -> Grid:
        """The cheapest full grid for a tolerance, or kept boxes where they take less. Collective.

        A full grid does not depend on the number of points.

        Args:
            queries: This rank's queries xi, ``shape=(m, d)``.
            points: This rank's points y, ``shape=(n, d)``.
            tolerance: Error allowed, relative to the sum of e^{<xi, y>} at each query.
            comm: The ranks over which both are distributed.
            log_factors: What is known of the weights' logarithms, ``shape=(n,)``, or None: it
                says which pairs of boxes matter.
        """
        ends = np.stack([_extent(queries), _extent(points)])
        comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MAX)
        ends[ends == -np.inf] = 0.0
        query_centre, point_centre = (ends[:, 1] - ends[:, 0]) / 2
        query_half, point_half = (ends[:, 1] + ends[:, 0]) / 2
        # Slopes are taken along every dimension, so none may have a width of zero, nor one in
        # which coordinates are lost in the round-off of their centre.
        smallest_query, smallest_point = _RESOLVED * np.abs(ends).max(axis=(1, 2))
        point_half = np.maximum(point_half, max(smallest_point, 1e-100))
        query_half = np.maximum(query_half, np.maximum(smallest_query, 0.5 / point_half))
        rectangles = Rectangle(query_centre, query_half), Rectangle(point_centre, point_half)
        exponents = query_half * point_half
        degrees = _exponents_by_degree(exponents, tolerance)
        grid = cls(*rectangles, *_cheapest(exponents, degrees))
        seconds = grid.seconds(_TYPICAL, _TYPICAL)
        if seconds < _WORTH_COUNTING:
            return grid
        for boxes, degree in _kept(exponents, degrees):
            kept = KeptBoxes.find(queries, points, *rectangles, boxes, log_factors, comm)
            most = max(len(kept.queries), len(kept.points))
            if most * degree ** len(boxes) <= LARGEST_GRID:
                other = cls(*rectangles, boxes, degree, kept)
                return other if other.seconds(_TYPICAL, _TYPICAL) < seconds else grid
        return grid

    def seconds(self, targets: int, points: int) -> float:
        """Seconds of preparing and evaluating once on one core; infinite where no grid fits.

        Targets and points are their numbers on all ranks.
        """
        if not self.boxes:
            return math.inf
        if self.kept is None:
            boxes = np.array(self.boxes, float)
            return seconds_of_grid(boxes, self.degree, self.exponents, targets, points)
        kept = len(self.kept.queries), len(self.kept.points)
        return seconds_of_kept(
            kept, self.kept.near_boxes, self.degree, len(self.boxes), targets, points
        )

    @property
    def exponents(self) -> Array:
        """Largest |xi_k y_k| about the centres, ``shape=(d,)``."""
        return self.queries.half * self.points.half


def _extent(points: Array) -> Array:
    """Largest -x_k and largest x_k of this rank's points, ``shape=(2, d)``."""
    if not len(points):
        return np.full((2, points.shape[1]), -np.inf)
    columns = np.ascontiguousarray(points.T)  # ten times as fast as along the short rows
    return np.stack([-columns.min(axis=1), columns.max(axis=1)])


def _exponents_by_degree(exponents: Array, tolerance: float) -> dict[int, float]:
    """The largest exponent z of a box that has the accuracy, by degree."""
    d = len(exponents)
    # Terms of one box differ by up to e^{2z} a dimension, and round-off of the largest is seen
    # relative to the smallest. The factors, and the largest z, are measured at worst points.
    amplification = math.log(min(tolerance, _ROUND_OFF) / (2 * np.finfo(float).eps))
    round_off = min(_evenly(exponents, max(amplification, 1.0) / 2), _LARGEST_Z)
    largest = {
        degree: min(round_off, _largest_exponent(degree, tolerance / (2 * d)))
        for degree in range(4, 29, 4)
    }
    return {degree: z for degree, z in largest.items() if z >= 1e-3}


def _cheapest(exponents: Array, degrees: dict[int, float]) -> tuple[tuple[int, ...], int]:
    """Boxes and degree of the cheapest full grid; none at all where none fits."""
    best: tuple[tuple[int, ...], int] = ((), 0)
    least = math.inf
    for degree, z in degrees.items():
        boxes = np.maximum(1.0, np.ceil(exponents / z))
        seconds = seconds_of_grid(boxes, degree, exponents, _TYPICAL, _TYPICAL)
        if seconds < least:
            best, least = (tuple(int(b) for b in boxes), degree), seconds
    return best


def _kept(exponents: Array, degrees: dict[int, float]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Boxes and degrees to try where only those that hold something are kept, best first.

    Low degrees suit points that are alone in their boxes, high ones those that crowd in few.
    """
    enough = min(_EXPONENT_OF_KEPT, max(degrees.values()))
    first = min(degree for degree, z in degrees.items() if z >= enough)
    for degree in sorted(degrees, key=lambda degree: (degree > first, -degree)):
        boxes = np.maximum(1.0, np.ceil(exponents / degrees[degree]))
        if countable(boxes):
            yield tuple(int(b) for b in boxes), degree
