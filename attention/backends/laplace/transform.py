r"""Chebyshev moments of points taken to Chebyshev series of their Laplace transform.

e^{<xi, y>} is a product over the dimensions, so one matrix a dimension takes the moments of all
boxes of points to the series of sum_j w_j e^{<xi, y_j>} in all boxes of queries. Where exponents
are moderate these are products of plain matrices; where they are not, every box has a log scale of
its own, and pairs of boxes that cannot matter are left out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.laplace.chebyshev import Boxed
from meanformer.attention.backends.laplace.cost import NEGLIGIBLE
from meanformer.attention.backends.laplace.grid import Grid
from meanformer.attention.backends.workers import share_out_slices

#: Waking threads takes longer than products with fewer operations.
PRODUCTS_WORTH_THREADS = 1_000_000


@lru_cache
def nodes(degree: int) -> Array:
    """The p zeros of T_p, ``shape=(p,)``."""
    return np.cos(np.pi * (np.arange(degree) + 0.5) / degree)


@lru_cache
def series_from_values(degree: int) -> Array:
    """From the values at ``nodes`` to the series of their interpolant, (2 - delta_k0) T_k(t_n) / p.

    Its transpose, ``shape=(p, p)`` as well, takes moments to the weights at the nodes that
    integrate polynomials of degree below p as the measure does.
    """
    angles = np.pi * (np.arange(degree) + 0.5) / degree
    matrix: Array = 2 / degree * np.cos(np.arange(degree)[:, None] * angles)
    matrix[0] /= 2
    return matrix


class Factors(NamedTuple):
    r"""e^{xi y} in one dimension, between all pairs of boxes.

    About the centres, e^{xi y} = e^{xi_b y_B} e^{(xi - xi_b) y_B} e^{xi (y - y_B)}. Only the first
    factor is large, and its round-off is common to all nodes of both boxes.

    Attributes:
        query_centres: xi_b, ``shape=(boxes,)``.
        point_centres: y_B, ``shape=(boxes,)``.
        across: e^{(xi - xi_b) y_B} at the nodes, which does not depend on b, ``shape=(p, boxes)``.
        within: e^{xi (y - y_B)} at the nodes, applied to Chebyshev moments, which does not depend
            on B, ``shape=(boxes, p, p)``.
        to_series: ``series_from_values``.
    """

    query_centres: Array
    point_centres: Array
    across: Array
    within: Array
    to_series: Array


def factors(query_half: float, point_half: float, boxes: int, degree: int) -> Factors:
    """Tables for ranges of the given half-widths about zero, cut into ``boxes`` boxes each."""
    centres = (2 * np.arange(boxes) + 1 - boxes) / boxes
    local = nodes(degree) / boxes
    query_nodes = query_half * (centres[:, None] + local)
    across = np.exp(query_half * point_half * local[:, None] * centres)
    within = np.exp(query_nodes[:, :, None] * (point_half * local))
    to_series = series_from_values(degree)
    within = within @ to_series.T
    return Factors(query_half * centres, point_half * centres, across, within, to_series)


def factors_of(grid: Grid) -> list[Factors]:
    """The tables of a full grid, by dimension."""
    halves = zip(grid.queries.half, grid.points.half, grid.boxes, strict=True)
    return [factors(*half, grid.degree) for half in halves]


def transform_matrix(f: Factors) -> Array:
    """From moments in all boxes of points to series in all boxes of queries, in one dimension.

    It has the ``shape=(boxes * p, boxes * p)``.
    """
    degree, boxes = f.across.shape
    across = f.to_series[:, None, :] * f.across.T
    matrix = np.matmul(across.reshape(degree * boxes, degree), f.within)
    matrix = matrix.reshape(boxes, degree, boxes, degree)
    matrix *= np.exp(np.multiply.outer(f.query_centres, f.point_centres))[:, None, :, None]
    return matrix.reshape(boxes * degree, boxes * degree)


def _contract(matrix: Array, tensor: Array) -> Array:
    """sum_j matrix_ij tensor_ajb, ``shape=(left, i, right)``."""
    left, _, right = tensor.shape
    result = np.empty((left, len(matrix), right))
    worthwhile = tensor.size * len(matrix) > PRODUCTS_WORTH_THREADS

    def along_last(part: slice) -> None:
        np.matmul(tensor[part, :, 0], matrix.T, out=result[part, :, 0])

    def along_first(part: slice) -> None:
        result[0][:, part] = matrix @ tensor[0][:, part]

    def along_middle(part: slice) -> None:
        np.matmul(matrix, tensor[part], out=result[part])

    if right == 1:
        share_out_slices(along_last, left, worthwhile)
    elif left == 1:
        share_out_slices(along_first, right, worthwhile)
    else:
        share_out_slices(along_middle, left, worthwhile)
    return result


def transform(matrices: list[Array], moments: Array) -> Array:
    """Apply one matrix a dimension to moments with one scale, of shape ``Boxed.shape``."""
    tensor = moments
    right = 1
    for matrix in reversed(matrices):
        tensor = _contract(matrix, tensor.reshape(-1, matrix.shape[1], right))
        right *= len(matrix)
    return tensor.reshape(moments.shape)


class GridTransform:
    """From moments with a log scale for every box of a full grid to series.

    Series are made in the boxes that hold this rank's queries. What is negligible is left out.
    """

    def __init__(self, grid: Grid, queries: Boxed) -> None:
        self._tables, self._shape = factors_of(grid), queries.boxes
        sought = np.diff(queries.start).reshape(queries.boxes) > 0
        others = (1, 2), (0, 2), (0, 1)
        self._needed = [np.flatnonzero(np.any(sought, axis=axes)) for axes in others]

    def __call__(self, moments: Array, scales: Array) -> tuple[Array, Array]:
        """Series and their log scales, of the same shapes as those of the moments.

        Args:
            moments: ``shape=(boxes_1, p_1, boxes_2, p_2, boxes_3, p_3)``.
            scales: Their log scales, -inf where a box is empty, ``shape=(number of boxes,)``.
        """
        scales = scales.reshape(self._shape)
        for axis, table in enumerate(self._tables, 3 - len(self._tables)):
            moments, scales = self._along(axis, table, moments, scales)
        return np.ascontiguousarray(moments), scales.ravel()

    def _along(
        self, axis: int, table: Factors, moments: Array, scales: Array
    ) -> tuple[Array, Array]:
        # The contracted box comes first and its degree last.
        ahead = [2 * axis, *(k for k in range(6) if k // 2 != axis), 2 * axis + 1]
        blocks = np.ascontiguousarray(moments.transpose(ahead))
        logs = np.ascontiguousarray(np.moveaxis(scales, axis, 0))
        new_blocks, new_logs = np.zeros_like(blocks), np.full(logs.shape, -np.inf)
        needed = self._needed[axis]

        def contract(some: slice) -> None:
            _contract_scaled(blocks, logs, needed[some], table, NEGLIGIBLE, new_blocks, new_logs)

        worthwhile = len(needed) * moments.size > PRODUCTS_WORTH_THREADS
        share_out_slices(contract, len(needed), worthwhile)
        return new_blocks.transpose(np.argsort(ahead)), np.moveaxis(new_logs, 0, axis)


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _contract_scaled(moments, scales, needed, factors, negligible, series, new_scales):  # type: ignore[no-untyped-def]
    """Set series and scales of the boxes of queries that are needed."""
    query_centres, point_centres, across, within, to_series = factors
    boxes, boxes1, p1, boxes2, p2, p = moments.shape
    values, factor, logs = np.empty((p1, p2, p)), np.empty(p), np.empty(boxes)
    for b in needed:
        for i in range(boxes1):
            for j in range(boxes2):
                top = -np.inf
                for c in range(boxes):
                    logs[c] = scales[c, i, j] + query_centres[b] * point_centres[c]
                    top = max(top, logs[c])
                if top == -np.inf:
                    continue
                values[:] = 0.0
                for c in range(boxes):
                    if logs[c] < top - negligible:
                        continue
                    scale = np.exp(logs[c] - top)
                    for n in range(p):
                        factor[n] = scale * across[n, c]
                    for k in range(p1):
                        for h in range(p2):
                            for n in range(p):
                                s = 0.0
                                for m in range(p):
                                    s += within[b, n, m] * moments[c, i, k, j, h, m]
                                values[k, h, n] += factor[n] * s
                new_scales[b, i, j] = top
                for k in range(p1):
                    for h in range(p2):
                        for m in range(p):
                            s = 0.0
                            for n in range(p):
                                s += to_series[m, n] * values[k, h, n]
                            series[b, i, k, j, h, m] = s
