"""The equal boxes into which a rectangle in R^d, d <= 3, is cut, and points sorted by them."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from meanformer.arrays import Array, Indices


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
        points: ``shape=(n, d)``.
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
