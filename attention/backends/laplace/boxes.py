"""The equal boxes into which a rectangle in R^d, d <= 3, is cut, and those that hold something."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from meanformer.mpi import MPI

import numba
import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.laplace.cost import NEGLIGIBLE

# More boxes than that in all have no numbers, and more in one dimension have inexact places.
_LARGEST_COUNT, _LARGEST_SIDE = 2.0**62, 2.0**45
# So many boxes of queries stand for all of them.
_SAMPLE = 64


class Rectangle(NamedTuple):
    """A rectangle's centre and half-widths, ``shape=(d,)`` each."""

    centre: Array
    half: Array


@numba.njit(inline="always")
def _box(x, count):  # type: ignore[no-untyped-def]
    """Which of ``count`` boxes of width 2 about zero holds x; the nearest if none does."""
    return min(max(int(0.5 * (x + count)), 0), count - 1)


def box_numbers(points: Array, rectangle: Rectangle, boxes: tuple[int, ...]) -> Indices:
    """Which box of a rectangle each point lies in, counted along the last dimension first.

    Of points, ``shape=(n, d)``, and numbers of boxes by dimension; ``shape=(n,)``.
    """
    centre, half = rectangle
    points = np.ascontiguousarray(points)
    numbers: Indices = _numbers(points, centre, np.array(boxes) / half, np.array(boxes))
    return numbers


@numba.njit(nogil=True, cache=True)
def _numbers(points, centre, stretch, boxes):  # type: ignore[no-untyped-def]
    """See ``box_numbers``."""
    n, d = points.shape
    numbers = np.zeros(n, np.int64)
    for j in range(n):
        for k in range(d):
            box = _box((points[j, k] - centre[k]) * stretch[k], boxes[k])
            numbers[j] = numbers[j] * boxes[k] + box
    return numbers


@numba.njit(nogil=True, cache=True)
def sort_by_box(points, centre, stretch, boxes, numbers, count):  # type: ignore[no-untyped-def]
    """Counting sort of points by box.

    Args:
        points: ``shape=(n, d)``, C-contiguous.
        centre: Of the rectangle, ``shape=(d,)``.
        stretch: Boxes over half-widths of the rectangle, ``shape=(d,)``.
        boxes: Numbers of boxes by dimension, ``shape=(d,)``.
        numbers: The place of each point's box among those that are counted, ``shape=(n,)``.
        count: How many boxes are counted.

    Returns:
        What comes at each place, ``shape=(n,)``; where each box starts, and n, ``shape=(count +
        1,)``; coordinates in the box, from -1 to 1, in sorted order and 0 in absent leading
        dimensions, ``shape=(3, n)``.
    """
    n, d = points.shape
    start = np.zeros(count + 1, np.int64)
    for j in range(n):
        start[numbers[j] + 1] += 1
    for b in range(1, len(start)):
        start[b] += start[b - 1]
    order = np.empty(n, np.int64)
    local = np.zeros((3, n))
    next_place = start.copy()
    for j in range(n):
        i = next_place[numbers[j]]
        next_place[numbers[j]] += 1
        order[i] = j
        for k in range(d):
            x = (points[j, k] - centre[k]) * stretch[k]
            local[3 - d + k, i] = x + boxes[k] - 1 - 2 * _box(x, boxes[k])
    return order, start, local


@dataclass(frozen=True)
class KeptBoxes:
    """Boxes that hold queries, and boxes that hold points, of any rank.

    Attributes:
        queries: Their numbers, as in ``box_numbers``, increasing.
        points: Their numbers, increasing.
        near_boxes: The share of the boxes of points that matter to a box of queries, on average.
        near_points: The share of the points in them.
    """

    queries: Indices
    points: Indices
    near_boxes: float
    near_points: float

    @classmethod
    def find(
        cls,
        queries: Array,
        points: Array,
        query_rectangle: Rectangle,
        point_rectangle: Rectangle,
        boxes: tuple[int, ...],
        log_factors: Array | None,
        comm: MPI.Comm,
    ) -> KeptBoxes:
        """Find them, the same on every rank. Collective.

        Either rectangle has as many boxes by dimension; other arguments as for ``Grid.fit``.
        """
        of_queries = _union(box_numbers(queries, query_rectangle, boxes), comm)
        numbers = box_numbers(points, point_rectangle, boxes)
        of_points = _union(numbers, comm)
        places = np.searchsorted(of_points, numbers)
        counts = np.bincount(places, minlength=len(of_points)).astype(float)
        tops = np.full(len(of_points), -np.inf if log_factors is not None else 0.0)
        if log_factors is not None:
            np.maximum.at(tops, places, log_factors)
        comm.Allreduce(MPI.IN_PLACE, counts)
        comm.Allreduce(MPI.IN_PLACE, tops, op=MPI.MAX)
        if not (len(of_queries) and len(of_points)):
            return cls(of_queries, of_points, 0.0, 0.0)
        sample = of_queries[:: math.ceil(len(of_queries) / _SAMPLE)]
        at = query_rectangle.centre + query_rectangle.half / boxes * box_places(sample, boxes)
        logs = at @ (point_rectangle.half / boxes * box_places(of_points, boxes)).T + tops
        near = logs >= logs.max(axis=1, keepdims=True) - NEGLIGIBLE
        share = float((near @ counts).mean() / counts.sum())
        return cls(of_queries, of_points, float(near.mean()), share)


def countable(boxes: Array) -> bool:
    """Whether every box of a grid can have a number, ``shape=(d,)``."""
    # Python's floats: infinite rather than a warning.
    return max(boxes) <= _LARGEST_SIDE and math.prod(map(float, boxes)) <= _LARGEST_COUNT


def box_places(numbers: Indices, boxes: tuple[int, ...]) -> Array:
    """Centres of boxes in half-widths of a box, about the middle, ``shape=(count, d)``."""
    indices = np.stack(np.unravel_index(numbers, boxes), axis=1)
    places: Array = 2.0 * indices + 1 - np.array(boxes)
    return places


def _union(numbers: Indices, comm: MPI.Comm) -> Indices:
    """The numbers that any rank has, increasing."""
    return np.unique(np.concatenate(comm.allgather(np.unique(numbers))))
