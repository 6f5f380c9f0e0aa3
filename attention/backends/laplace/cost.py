"""What the Laplace backend takes on one core, by constants measured."""

from __future__ import annotations

import math

import numpy as np

from meanformer.arrays import Array

#: The largest number of nodes of all boxes, and of entries of tables.
LARGEST_GRID = 3e7
#: Up to this sum of exponents a b over the dimensions, no scale by box is needed in doubles.
MODERATE_EXPONENT = 300.0
#: Nats below the largest box. Within boxes, exponents differ by up to 16 from those at the centres,
#: so this leaves e^{-54} of the largest term for any number of points.
NEGLIGIBLE = 70.0

# Seconds.
_CALL = 2e-4
_POINT, _POINT_DEGREE = 3.5e-8, 1.3e-10
_TARGET, _TARGET_DEGREE = 4e-8, 2.3e-10
_NODE = 3e-9
_PRODUCT = 4e-11
_ENTRY, _ENTRY_DEGREE = 5e-10, 4e-11
_NEAR_PRODUCT = 7.5e-11
_NEAR_PAIR = 6e-8
_PAIR = 2.3e-10
_KEPT_PRODUCT = 1e-10
_KEPT_PAIR = 2e-7
_LOOK = 1e-9


def seconds_of_grid(
    boxes: Array, degree: int, exponents: Array, targets: int, points: int
) -> float:
    """Preparing and evaluating once with a full grid; infinite beyond ``LARGEST_GRID``.

    Boxes are their numbers by dimension, ``shape=(d,)``, and exponents the largest |xi_k y_k|, of
    the same shape; a box has ``degree`` nodes a dimension.
    """
    nodes = boxes * degree
    size = math.prod(float(n) for n in nodes)  # infinite rather than a warning
    if not max(size, nodes.sum() * degree) <= LARGEST_GRID:
        return math.inf
    seconds = _at_points(degree ** len(boxes), targets, points) + size * _NODE
    if exponents.sum() <= MODERATE_EXPONENT:
        seconds += size * nodes.sum() * _PRODUCT
        seconds += float(np.sum(nodes**2)) * (_ENTRY + _ENTRY_DEGREE * degree)
    else:
        near = boxes * _near_share(exponents)
        pairs = float(np.prod(boxes))
        seconds += near.sum() * (size * degree * _NEAR_PRODUCT + pairs * _NEAR_PAIR)
        seconds += boxes.sum() * pairs * _PAIR
    return float(seconds)


def seconds_of_kept(
    kept: tuple[int, int], near: float, degree: int, d: int, targets: int, points: int
) -> float:
    """The same in d dimensions with the boxes that hold something.

    Kept are numbers of boxes with queries and with points; near is the share of pairs that matter.
    """
    pair = d * degree ** (d + 1) * _KEPT_PRODUCT + _KEPT_PAIR
    pairs = math.prod(kept) * (_LOOK + near * pair)
    return _at_points(degree**d, targets, points) + sum(kept) * degree**d * _NODE + pairs


def _at_points(nodes: int, targets: int, points: int) -> float:
    """Moments of the points and series at the targets."""
    at_points = points * (_POINT + _POINT_DEGREE * nodes)
    return _CALL + at_points + targets * (_TARGET + _TARGET_DEGREE * nodes)


def _near_share(exponents: Array) -> Array:
    """By dimension, the share of boxes within 60 nats of the largest, where all hold points."""
    share = np.minimum(1.0, 30 / exponents)
    nearest: Array = share * (1 - np.log(share))
    return nearest
