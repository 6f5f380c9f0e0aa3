r"""Chebyshev moments taken to series of their Laplace transform between pairs of kept boxes.

Where a full grid of boxes would be too large, those that hold points and those that hold queries
are taken in pairs, leaving out pairs that cannot matter. About the centres of a pair,
e^{<xi, y>} = e^{<xi_b, y_B>} e^{<xi - xi_b, y_B>} e^{<xi, y - y_B>}: the first is in the log scale,
the second a factor at the nodes of xi, the third one matrix a dimension.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.laplace.boxes import box_places
from meanformer.attention.backends.laplace.chebyshev import Boxed
from meanformer.attention.backends.laplace.cost import NEGLIGIBLE
from meanformer.attention.backends.laplace.grid import Grid
from meanformer.attention.backends.laplace.transform import (
    PRODUCTS_WORTH_THREADS,
    nodes,
    series_from_values,
)
from meanformer.attention.backends.workers import share_out_slices


class _Tables(NamedTuple):
    """Half-widths of boxes, ``shape=(3,)``, their centres, ``(boxes, 3)``, and what is in them."""

    query_half: Array
    point_half: Array
    query_centres: Array
    point_centres: Array
    nodes: Array
    to_series: Array


class PairTransform:
    """From moments in kept boxes of points to series in this rank's kept boxes of queries."""

    def __init__(self, grid: Grid, queries: Boxed) -> None:
        assert grid.kept is not None
        self._queries = queries
        self._needed = np.flatnonzero(np.diff(queries.start))
        # Half-widths and centres of boxes in three dimensions; in the absent ones they are points.
        absent = ((0, 0), (3 - len(grid.boxes), 0))
        halves = np.stack([grid.queries.half, grid.points.half]) / grid.boxes
        query_half, point_half = np.pad(halves, absent)
        query_centres, point_centres = (
            np.pad(half * box_places(numbers, grid.boxes), absent)
            for half, numbers in zip(halves, (grid.kept.queries, grid.kept.points), strict=True)
        )
        size = queries.degrees[2]
        in_boxes = np.zeros((3, size)), np.zeros((3, size, size))
        self._tables = _Tables(query_half, point_half, query_centres, point_centres, *in_boxes)
        for axis, degree in enumerate(queries.degrees):
            self._tables.nodes[axis, :degree] = nodes(degree)
            self._tables.to_series[axis, :degree, :degree] = series_from_values(degree)

    def __call__(self, moments: Array, scales: Array) -> tuple[Array, Array]:
        """Series, ``shape=(kept boxes of queries, p_1, 1, p_2, 1, p_3)``, and their log scales.

        Args:
            moments: ``shape=(kept boxes of points, p_1, 1, p_2, 1, p_3)``.
            scales: Their log scales, -inf where there is nothing, ``shape=(kept boxes,)``.
        """
        series = np.zeros(self._queries.shape)
        new_scales = np.full(len(series), -np.inf)
        before, after = (a.reshape(-1, *self._queries.degrees) for a in (moments, series))
        worthwhile = len(self._needed) * moments.size > PRODUCTS_WORTH_THREADS

        def transform(some: slice) -> None:
            needed = self._needed[some]
            _transform(before, scales, needed, self._tables, NEGLIGIBLE, after, new_scales)

        share_out_slices(transform, len(self._needed), worthwhile)
        return series, new_scales


@numba.njit(inline="always")
def _apply(matrix, tensor, turned):  # type: ignore[no-untyped-def]
    """turned_nij = sum_m matrix_nm tensor_ijm: the last dimension, which becomes the first."""
    p1, p2, p = tensor.shape
    for i in range(p1):
        for j in range(p2):
            for n in range(p):
                s = 0.0
                for m in range(p):
                    s += matrix[n, m] * tensor[i, j, m]
                turned[n, i, j] = s


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _transform(moments, scales, needed, tables, negligible, series, new_scales):  # type: ignore[no-untyped-def]
    """Set series and scales of the boxes of queries that are needed."""
    query_half, point_half, query_centres, point_centres, nodes, to_series = tables
    boxes, p1, p2, p3 = moments.shape
    sizes = (p1, p2, p3)
    logs = np.empty(boxes)
    within = np.empty((3, p3, p3))
    across = np.ones((3, p3))
    values = np.empty((p1, p2, p3))
    along3, along2, along1 = np.empty((p3, p1, p2)), np.empty((p2, p3, p1)), np.empty((p1, p2, p3))
    for b in needed:
        top = -np.inf
        for c in range(boxes):
            logs[c] = scales[c]
            for k in range(3):
                logs[c] += query_centres[b, k] * point_centres[c, k]
            top = max(top, logs[c])
        if top == -np.inf:
            continue
        for k in range(3):
            p = sizes[k]
            for n in range(p):
                xi = query_centres[b, k] + query_half[k] * nodes[k, n]
                for m in range(p):
                    within[k, n, m] = 0.0
                for q in range(p):
                    e = np.exp(xi * point_half[k] * nodes[k, q])
                    for m in range(p):
                        within[k, n, m] += e * to_series[k, m, q]
        values[:] = 0.0
        for c in range(boxes):
            if logs[c] < top - negligible:
                continue
            scale = np.exp(logs[c] - top)
            for k in range(3):
                for n in range(sizes[k]):
                    across[k, n] = np.exp(query_half[k] * nodes[k, n] * point_centres[c, k])
            _apply(within[2], moments[c], along3)
            _apply(within[1, :p2, :p2], along3, along2)
            _apply(within[0, :p1, :p1], along2, along1)
            for i in range(p1):
                for j in range(p2):
                    factor = scale * across[0, i] * across[1, j]
                    for n in range(p3):
                        values[i, j, n] += factor * across[2, n] * along1[i, j, n]
        new_scales[b] = top
        _apply(to_series[2], values, along3)
        _apply(to_series[1, :p2, :p2], along3, along2)
        _apply(to_series[0, :p1, :p1], along2, series[b])
