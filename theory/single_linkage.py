"""Compiled loops of single linkage: balls of half the linkage, and which of them are linked.

Every point within half the linkage of a leader, which is a point, too, is linked to it; these are
its ball. So however many points are in one place, few balls are left to be compared. Points and
leaders are sorted by the keys of their cells, in which neighbours along the last axis follow each
other: what may be near is a window of keys for each row of cells, and windows move on with the key.
"""

from __future__ import annotations

import numba
import numpy as np
from numba.extending import register_jitable

# Coordinates that are added before a sum of squares is compared with its limit.
_BLOCK = 8
# Projections are off by no more than this share of what they are compared with.
_ROUND_OFF = 1e-9


@register_jitable
def _square(first, second, limit):  # type: ignore[no-untyped-def]
    """|x - y|^2, or a part of it that exceeds the limit."""
    total = 0.0
    for start in range(0, len(first), _BLOCK):
        for k in range(start, min(start + _BLOCK, len(first))):
            total += (first[k] - second[k]) ** 2
        if total > limit:
            break
    return total


@numba.njit(nogil=True, cache=True)
def cover(points, keys, rows, limit, ball):  # type: ignore[no-untyped-def]
    """Put each point into the ball of a leader within reach, or make it a leader.

    Args:
        points: Sorted by keys, ``shape=(n, d)``.
        keys: Of their cells, which are larger than a ball's radius, ``shape=(n,)``.
        rows: Differences in key of the rows of cells that touch or are that of a cell, none
            positive, ``shape=(r,)``.
        limit: The square of the radius.
        ball: The number of each point's ball is put here, ``shape=(n,)``; the first point of a
            ball is its leader.

    Returns:
        How many balls there are.
    """
    leaders = np.empty(len(points), np.int64)
    starts = np.zeros(len(rows), np.int64)
    count = 0
    for i in range(len(points)):
        ball[i] = -1
        for r in range(len(rows)):
            middle, b = keys[i] + rows[r], starts[r]
            while b < count and keys[leaders[b]] < middle - 1:
                b += 1
            starts[r] = b
            while b < count and keys[leaders[b]] <= middle + 1:
                if _square(points[i], points[leaders[b]], limit) <= limit:
                    ball[i] = b
                    break
                b += 1
            if ball[i] >= 0:
                break
        if ball[i] < 0:
            leaders[count] = i
            ball[i] = count
            count += 1
    return count


@numba.njit(nogil=True, cache=True)
def radii(points, first):  # type: ignore[no-untyped-def]
    """The largest distance of a ball's points from its leader, ``shape=(b,)``; see ``link``."""
    largest = np.zeros(len(first) - 1)
    for b in range(len(largest)):
        for i in range(first[b], first[b + 1]):
            square = _square(points[i], points[first[b]], np.inf)
            largest[b] = max(largest[b], square)
    return np.sqrt(largest)


@register_jitable
def _root(parents, b):  # type: ignore[no-untyped-def]
    """The ball that stands for all those linked to one; paths to it are halved."""
    while parents[b] != b:
        parents[b] = parents[parents[b]]
        b = parents[b]
    return b


@register_jitable
def _heights(points, start, stop, origin, axis):  # type: ignore[no-untyped-def]
    """<axis, x - origin> of points, ``shape=(stop - start,)``."""
    heights = np.zeros(stop - start)
    for i in range(start, stop):
        for k in range(len(axis)):
            heights[i - start] += axis[k] * (points[i, k] - origin[k])
    return heights


@register_jitable
def _linked(points, a, a_end, b, b_end, distance, linkage):  # type: ignore[no-untyped-def]
    """Whether points of two balls are linked, whose leaders a and b have a distance.

    Two points are at least as far apart as their projections on the line of the leaders. So those
    of a ball that are far below the other ball's end on it have no partner there.
    """
    axis = points[b] - points[a]
    below = _heights(points, a, a_end, points[a], axis)
    above = _heights(points, b, b_end, points[a], axis)
    limit, reach = linkage**2, linkage * distance * (1 + _ROUND_OFF)
    top, bottom = np.argmax(below), np.argmin(above)
    if above[bottom] - below[top] > reach:
        return False
    if _square(points[a + top], points[b + bottom], limit) <= limit:
        return True
    for i in range(len(below)):
        if above[bottom] - below[i] <= reach:
            for j in range(len(above)):
                if above[j] - below[i] <= reach:
                    if _square(points[a + i], points[b + j], limit) <= limit:
                        return True
    return False


@numba.njit(nogil=True, cache=True)
def link(points, first, keys, rows, reach, sizes, linkage, parents):  # type: ignore[no-untyped-def]
    """Join the balls of which points are linked.

    Args:
        points: Ball by ball, the leader first, ``shape=(n, d)``.
        first: Where each ball begins, and the end of all, ``shape=(b + 1,)``.
        keys: Of the leaders' cells, sorted, ``shape=(b,)``.
        rows: As in ``cover``, of all rows within reach.
        reach: How many cells away in a row the leaders of linked balls may be.
        sizes: The radii of the balls; zeros link leaders alone, ``shape=(b,)``.
        linkage: The largest distance of linked points.
        parents: Of each ball, ``shape=(b,)``: a ball that stands for it, in the end for all those
            joined to it.
    """
    starts = np.zeros(len(rows), np.int64)
    for a in range(len(keys)):
        for r in range(len(rows)):
            middle, b = keys[a] + rows[r], starts[r]
            while b < a and keys[b] < middle - reach:
                b += 1
            starts[r] = b
            while b < a and keys[b] <= middle + reach:
                one, other = _root(parents, a), _root(parents, b)
                if one != other:
                    near = linkage + sizes[a] + sizes[b]
                    square = _square(points[first[a]], points[first[b]], near**2)
                    joined = square <= linkage**2
                    if not joined and square <= near**2:
                        ends = first[a], first[a + 1], first[b], first[b + 1]
                        joined = _linked(points, *ends, np.sqrt(square), linkage)
                    if joined:
                        parents[max(one, other)] = min(one, other)
                b += 1
    for a in range(len(keys)):
        parents[a] = _root(parents, a)
