"""The boxes of a Laplace grid that hold something, and how many of them matter to each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.laplace.boxes import Rectangle, box_numbers
from meanformer.attention.backends.laplace.cost import NEGLIGIBLE

# More boxes than that in all have no numbers, and more in one dimension have inexact places.
_LARGEST_COUNT, _LARGEST_SIDE = 2.0**62, 2.0**45
# So many boxes of queries stand for all of them.
_SAMPLE = 64


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
