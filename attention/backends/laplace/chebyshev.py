r"""Chebyshev moments of points sorted into boxes, and Chebyshev series evaluated in boxes.

A rectangle in R^d, d <= 3, is cut into equal boxes. With local coordinates t in [-1, 1]^d, a
weighted measure has in a box the moments sum_j w_j T_k(t_j), k in [0, p)^d, and a function is the
series sum_k c_k T_k(t). Absent leading dimensions are one box wide and of degree 0, so that moments
and series of all boxes are arrays of shape (boxes_1, p_1, boxes_2, p_2, boxes_3, p_3). Where only
some boxes are kept, they are a row: the shape is (kept boxes, p_1, 1, p_2, 1, p_3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.laplace.boxes import Rectangle, box_numbers, sort_by_box
from meanformer.attention.backends.workers import Result, share_out_slices

_FAST = {"contract", "reassoc", "nsz"}
# So many points of one box at a time: the inner loops run over them.
_BLOCK = 32
# Waking threads takes longer than the work on fewer points.
_POINTS_WORTH_THREADS = 2_000


@dataclass(frozen=True)
class Boxed:
    """Points sorted by the box they lie in.

    Attributes:
        boxes: Number of boxes by dimension, three of them; of kept ones, their number, 1 and 1.
        degrees: Number of Chebyshev polynomials by dimension: p, or 1 in an absent dimension.
        order: What was at ``order[i]`` comes at i, ``shape=(n,)``.
        start: Where each box starts, and n at the end, ``shape=(number of boxes + 1,)``.
        local: The coordinates in the box, in sorted order, ``shape=(3, n)``.
        stretch: Local coordinates by coordinates, ``shape=(d,)``.
    """

    boxes: tuple[int, ...]
    degrees: tuple[int, ...]
    order: Indices
    start: Indices
    local: Array
    stretch: Array

    @classmethod
    def sort(
        cls,
        points: Array,
        rectangle: Rectangle,
        boxes: tuple[int, ...],
        p: int,
        kept: Indices | None = None,
    ) -> Boxed:
        """Sort points of a rectangle.

        Args:
            points: ``shape=(n, d)``.
            rectangle: Where they are.
            boxes: The number of boxes by dimension, d of them.
            p: Number of Chebyshev polynomials a dimension, a multiple of 4.
            kept: Numbers of the boxes to keep, increasing, all that hold points among them; None
                for all boxes.
        """
        centre, half = rectangle
        stretch = np.array(boxes) / half
        numbers = box_numbers(points, rectangle, boxes)
        absent = 3 - len(boxes)
        shape = (1,) * absent + boxes
        if kept is not None:
            numbers = np.searchsorted(kept, numbers)
            shape = (len(kept), 1, 1)
        points = np.ascontiguousarray(points)
        order, start, local = sort_by_box(
            points, centre, stretch, np.array(boxes), numbers, math.prod(shape)
        )
        return cls(shape, (1,) * absent + (p,) * len(boxes), order, start, local, stretch)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of moments and series of all boxes."""
        return tuple(s for pair in zip(self.boxes, self.degrees, strict=True) for s in pair)

    def moments(self, weights: Array) -> Array:
        """Chebyshev moments sum_j w_j T_k(t_j) over the points of each box, of ``shape``.

        Weights are in sorted order, ``shape=(n,)``.
        """
        moments = np.zeros(self.shape)
        fixed = self.local, self.start, weights, moments
        parts = self._share_out(lambda piece: _add_moments(*fixed, piece.start, piece.stop))
        # Two pieces may have points in the box where one ends and the other starts.
        for box, part in parts:
            i, j, k = np.unravel_index(box, self.boxes)
            moments[i, :, j, :, k, :] += part
        return moments

    def evaluate(self, series: Array, slopes: bool) -> tuple[Array, Array]:
        """The series at the points, and its gradient if wanted, in the points' first order.

        From coefficients in all boxes, of ``shape``, to ``shape=(n,)``, and ``(n, d)`` or (n, 0).
        """
        count = len(self.order)
        values, gradient = np.empty(count), np.empty((count, len(self.stretch) if slopes else 0))
        fixed = self.local, self.start, self.order, self.stretch, series, values, gradient
        self._share_out(lambda piece: _evaluate(*fixed, piece.start, piece.stop))
        return values, gradient

    def _share_out(self, work: Callable[[slice], Result]) -> list[Result]:
        """Do the work on pieces of all points."""
        count = len(self.order)
        return share_out_slices(work, count, count > _POINTS_WORTH_THREADS)


@numba.njit(inline="always")
def _polynomials(t, first, size, values):  # type: ignore[no-untyped-def]
    """T_0 .. T_{p-1} at t[first : first + size], ``values.shape=(p, block)``."""
    for q in range(size):
        values[0, q] = 1.0
    if len(values) > 1:
        for q in range(size):
            values[1, q] = t[first + q]
        for k in range(2, len(values)):
            for q in range(size):
                values[k, q] = 2.0 * values[1, q] * values[k - 1, q] - values[k - 2, q]


@numba.njit(inline="always")
def _slopes(size, values, slopes):  # type: ignore[no-untyped-def]
    """T_0' .. T_{p-1}' where the polynomials have the values given."""
    for q in range(size):
        slopes[0, q] = 0.0
    if len(values) > 1:
        for q in range(size):
            slopes[1, q] = 1.0
        for k in range(2, len(values)):
            for q in range(size):
                slopes[k, q] = 2.0 * (values[k - 1, q] + values[1, q] * slopes[k - 1, q])
                slopes[k, q] -= slopes[k - 2, q]


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _add_moments(local, start, weights, moments, j, last):  # type: ignore[no-untyped-def]
    """Set the moments of boxes from points j to last, but return those of the first box."""
    _, p1, boxes2, p2, boxes3, p3 = moments.shape
    x, y, z = np.empty((p1, _BLOCK)), np.empty((p2, _BLOCK)), np.empty((p3, _BLOCK))
    f, sums = np.empty(_BLOCK), np.empty((p1, p2, p3))
    first_box = np.searchsorted(start, j, side="right") - 1
    first_sums = np.zeros((p1, p2, p3))
    box = first_box
    while j < last:
        end = min(start[box + 1], last)
        if end > j:
            sums[:] = 0.0
            while j < end:
                size = min(_BLOCK, end - j)
                _polynomials(local[0], j, size, x)
                _polynomials(local[1], j, size, y)
                _polynomials(local[2], j, size, z)
                for a in range(p1):
                    for b in range(p2):
                        for q in range(size):
                            f[q] = weights[j + q] * x[a, q] * y[b, q]
                        for c in range(0, p3, 4):
                            s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
                            for q in range(size):
                                s0 += f[q] * z[c, q]
                                s1 += f[q] * z[c + 1, q]
                                s2 += f[q] * z[c + 2, q]
                                s3 += f[q] * z[c + 3, q]
                            sums[a, b, c] += s0
                            sums[a, b, c + 1] += s1
                            sums[a, b, c + 2] += s2
                            sums[a, b, c + 3] += s3
                j += size
            if box == first_box:
                first_sums[:] = sums
            else:
                moments[box // (boxes2 * boxes3), :, box // boxes3 % boxes2, :, box % boxes3] = sums
        box += 1
    return first_box, first_sums


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _evaluate(local, start, order, stretch, series, values, gradient, j, last):  # type: ignore[no-untyped-def]
    """Values at points j to last, and the gradient if there are columns for it."""
    d = gradient.shape[1]
    _, p1, boxes2, p2, boxes3, p3 = series.shape
    x, y, z = np.empty((p1, _BLOCK)), np.empty((p2, _BLOCK)), np.empty((p3, _BLOCK))
    dx, dy, dz = np.empty((p1, _BLOCK)), np.empty((p2, _BLOCK)), np.empty((p3, _BLOCK))
    f, g, sums = np.empty(_BLOCK), np.empty(_BLOCK), np.empty((4, _BLOCK))
    terms = np.empty((p1, p2, p3))
    box = np.searchsorted(start, j, side="right") - 1
    while j < last:
        end = min(start[box + 1], last)
        if end > j:
            terms[:] = series[box // (boxes2 * boxes3), :, box // boxes3 % boxes2, :, box % boxes3]
        box += 1
        while j < end:
            size = min(_BLOCK, end - j)
            _polynomials(local[0], j, size, x)
            _polynomials(local[1], j, size, y)
            _polynomials(local[2], j, size, z)
            if d > 0:
                _slopes(size, x, dx)
                _slopes(size, y, dy)
                _slopes(size, z, dz)
            sums[:] = 0.0
            for a in range(p1):
                for b in range(p2):
                    for q in range(size):
                        f[q], g[q] = 0.0, 0.0
                    for c in range(0, p3, 4):
                        t0, t1 = terms[a, b, c], terms[a, b, c + 1]
                        t2, t3 = terms[a, b, c + 2], terms[a, b, c + 3]
                        for q in range(size):
                            f[q] += t0 * z[c, q] + t1 * z[c + 1, q]
                            f[q] += t2 * z[c + 2, q] + t3 * z[c + 3, q]
                        if d > 0:
                            for q in range(size):
                                g[q] += t0 * dz[c, q] + t1 * dz[c + 1, q]
                                g[q] += t2 * dz[c + 2, q] + t3 * dz[c + 3, q]
                    for q in range(size):
                        sums[0, q] += x[a, q] * y[b, q] * f[q]
                    if d > 0:
                        for q in range(size):
                            sums[1, q] += x[a, q] * y[b, q] * g[q]
                            sums[2, q] += x[a, q] * dy[b, q] * f[q]
                            sums[3, q] += dx[a, q] * y[b, q] * f[q]
            for q in range(size):
                values[order[j + q]] = sums[0, q]
                for k in range(d):
                    gradient[order[j + q], k] = sums[d - k, q] * stretch[k]
            j += size
