r"""The Laplace backend: sums of e^{<xi, y>} in R^d, d <= 3, in linear time at any exponent.

G(xi) = sum_j w_j e^{<xi, y_j>} is interpolated in xi and in y on tensor grids of boxes (``Grid``):

1. each box of points has its Chebyshev moments of the weights,
2. one matrix a dimension takes them to Chebyshev series of G in the boxes of the queries, or one
   for each pair of boxes where a full grid of them would be too large,
3. G and its gradient, the moments sum_j w_j y_j e^{<xi, y_j>}, are evaluated at the queries.

With the centres of both ranges, <xi, y> = <xi, y_c> + <xi_c, y - y_c> + <xi - xi_c, y - y_c>: the
first is a factor of the query, the second one of the point. Since every box is accurate relative to
its own largest term, G has its relative accuracy at any exponent.
"""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.laplace.chebyshev import Boxed
from meanformer.attention.backends.laplace.cost import LARGEST_GRID, MODERATE_EXPONENT
from meanformer.attention.backends.laplace.grid import Grid
from meanformer.attention.backends.laplace.pairs import PairTransform
from meanformer.attention.backends.laplace.transform import (
    GridTransform,
    factors_of,
    transform,
    transform_matrix,
)
from meanformer.attention.backends.workers import share_out

# Waking threads takes longer than sorting fewer.
_POINTS_WORTH_THREADS = 20_000


class LaplaceSums:
    """Sums of e^{<xi, y>} over points at fixed queries; a ``Backend``.

    Args:
        queries: This rank's queries xi, ``shape=(m, d)``, d <= 3.
        points: This rank's points y, ``shape=(n, d)``.
        grid: ``Grid.fit`` of these.
        comm: The ranks over which both are distributed.

    Raises:
        ValueError: If the exponents need a grid of more than ``LARGEST_GRID`` nodes.
    """

    def __init__(self, queries: Array, points: Array, grid: Grid, comm: MPI.Comm) -> None:
        if not grid.boxes:
            raise ValueError(
                f"Laplace: exponents up to {np.max(grid.exponents):.3g} in {len(grid.exponents)} "
                f"dimensions, of scattered points, need more than {LARGEST_GRID:.0e} nodes"
            )
        self._grid, self._comm = grid, comm
        size, kept = (grid.boxes, grid.degree), grid.kept
        both = [
            (points, grid.points, *size, None if kept is None else kept.points),
            (queries, grid.queries, *size, None if kept is None else kept.queries),
        ]
        worthwhile = min(len(points), len(queries)) > _POINTS_WORTH_THREADS
        self._points, self._queries = share_out(lambda one: Boxed.sort(*one), both, worthwhile)
        centre = grid.points.centre
        self._tilt = ((points - centre) @ grid.queries.centre)[self._points.order]
        self._shift = queries @ centre
        self._moderate = grid.kept is None and grid.exponents.sum() <= MODERATE_EXPONENT
        if self._moderate:
            self._matrices = [transform_matrix(table) for table in factors_of(grid)]
        else:
            kind = GridTransform if grid.kept is None else PairTransform
            self._transform = kind(grid, self._queries)

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``."""
        mantissa, power = np.frexp(weights[self._points.order])
        logs = power * np.log(2.0) + self._tilt
        if log_factors is not None:
            logs += log_factors[self._points.order]
        # What weighs nothing must not set a scale.
        logs[mantissa == 0] = -np.inf
        scales, series = (self._plain if self._moderate else self._scaled)(mantissa, logs)
        partition, gradient = self._queries.evaluate(series, slopes=moment)
        if moment:
            for column, centre in zip(gradient.T, self._grid.points.centre, strict=True):
                column += centre * partition
        return Sums(scales + self._shift, partition, gradient)

    def _plain(self, mantissa: Array, logs: Array) -> tuple[Array, Array]:
        """The log scale of G at each query, one for all, and its series in the queries' boxes."""
        top = np.array([logs.max(initial=-np.inf)])
        self._comm.Allreduce(MPI.IN_PLACE, top, op=MPI.MAX)
        top[top == -np.inf] = 0.0
        moments = self._points.moments(mantissa * np.exp(logs - top))
        self._comm.Allreduce(MPI.IN_PLACE, moments)
        return np.full(len(self._shift), top), transform(self._matrices, moments)

    def _scaled(self, mantissa: Array, logs: Array) -> tuple[Array, Array]:
        """The same with one scale for each box."""
        points, queries = self._points, self._queries
        counts = np.diff(points.start)
        scales: Array = np.full(len(counts), -np.inf)
        if len(logs):
            occupied = counts > 0
            scales[occupied] = np.maximum.reduceat(logs, points.start[:-1][occupied])
        self._comm.Allreduce(MPI.IN_PLACE, scales, op=MPI.MAX)
        tops = np.repeat(np.where(scales > -np.inf, scales, 0.0), counts)
        moments = points.moments(mantissa * np.exp(logs - tops))
        self._comm.Allreduce(MPI.IN_PLACE, moments)
        series, scales = self._transform(moments, scales)
        scales = np.where(scales > -np.inf, scales, 0.0)
        at_queries = np.empty(len(self._shift))
        at_queries[queries.order] = np.repeat(scales, np.diff(queries.start))
        return at_queries, series
