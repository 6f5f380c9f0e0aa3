"""The direct backend: sums over all pairs in few dimensions, exact to round-off.

At large exponents, leaves of points whose terms all lie below the round-off of a target's sum are
left out: on S^2 at beta = 1000 that is 95 % of the pairs.
"""

from __future__ import annotations

from typing import NamedTuple

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.direct.leaves import Kept, Leaves, leaf_order
from meanformer.attention.backends.direct.pairs import PairSums, largest, lengths
from meanformer.attention.backends.direct.tiles import (
    COLUMNS,
    COORDINATES,
    LANES,
    LEAF,
    STRIP,
    raise_to_maxima,
)
from meanformer.attention.backends.kernels import LOG2_E, NOTHING, Exponential, Kernel
from meanformer.threads import threads

# Bits by which a term may exceed its reference: sums of many still fit.
_HEADROOM = 500.0
# What is left out is, all together, e^-40 of the largest term.
_NEGLIGIBLE = 40.0
# Fewer pairs are summed in less time than it takes to sort points.
_PAIRS_WORTH_SORTING = 4_000_000


class _Block(NamedTuple):
    """One rank's points, filled up to whole passes of the compiled loops.

    Attributes:
        keys: y, ``shape=(r, n)``.
        bias: ``shape=(n,)``.
        values: w, or w and w y, ``shape=(c, n)``.
        leaves: Of these points.
    """

    keys: Array
    bias: Array
    values: Array
    leaves: Leaves


class DirectSums(PairSums[_Block]):
    """Sums of a kernel over all pairs where keys and values are the points. See ``PairSums``.

    Args:
        queries: xi = A x for this rank's targets x, ``shape=(m, d)``.
        points: This rank's points y, ``shape=(n, d)``.
        comm: The ranks over which the points are distributed, or None.
        kernel: See ``PairSums``.

    Attributes:
        met: How many points each target has met so far, those left out not counted,
            ``shape=(m,)``; targets in an order of their own.
    """

    def __init__(
        self,
        queries: Array,
        points: Array,
        comm: MPI.Comm | None,
        kernel: Kernel = Exponential(),
    ) -> None:
        """Sort targets and points into leaves, where that can pay."""
        self.met = np.zeros(len(queries), int)
        total = len(points) if comm is None else comm.allreduce(len(points))
        negligible = _NEGLIGIBLE + np.log(max(total, 1))
        self._margin = LOG2_E * negligible
        # No logits differ by more than this.
        spread = 2 * largest(lengths(queries), comm) * largest(lengths(points), comm)
        pays = len(queries) * total > _PAIRS_WORTH_SORTING and spread > negligible
        group = int(np.clip(len(queries) // (4 * threads()) // STRIP, 1, 8)) * STRIP
        self._order: Indices = np.arange(len(points))
        self._target_order: Indices = np.arange(len(queries))
        if pays and kernel.local:
            self._order, self._target_order = leaf_order(points, LEAF), leaf_order(queries, STRIP)
        points = points[self._order]
        super().__init__(queries[self._target_order], points, points, comm, kernel, group)
        self._queries = _padded(self._queries, 1, COORDINATES)

    def _evaluate(
        self, weights: Array, log_factors: Array | None, values: slice
    ) -> tuple[Array, Array]:
        """See ``PairSums``; in the order of the arguments."""
        factors = None if log_factors is None else log_factors[self._order]
        sorted_ = super()._evaluate(weights[self._order], factors, values)
        log_scale, sums = np.empty_like(sorted_[0]), np.empty_like(sorted_[1])
        log_scale[self._target_order], sums[self._target_order] = sorted_
        return log_scale, sums

    def _block(self, keys: Array, values: Array, factors: Array, bias: Array) -> _Block:
        columns = np.vstack([factors, factors * values])
        # What is done in registers takes four columns, even for the partition alone.
        whole = COLUMNS if len(values) or len(keys) <= COORDINATES else 1
        return _Block(
            _padded(keys, COORDINATES, LANES),
            _padded(bias[None], 1, LANES, NOTHING)[0],
            _padded(columns, whole, LANES),
            Leaves.of(keys, bias),
        )

    def _raise_to_maxima(self, group: slice, block: _Block, references: Array, sums: Array) -> None:
        queries = self._queries[group]
        near = block.leaves.nearest(queries)
        raise_to_maxima(queries, block.keys, block.bias, near, references)
        kept, _ = block.leaves.reach(queries, references)
        raise_to_maxima(queries, block.keys, block.bias, kept & ~near, references)

    def _add(self, group: slice, block: _Block, references: Array, sums: Array) -> None:
        if self._kernel.exponential:
            kept = self._raise_references(group, block, references, sums)
        elif self._kernel.local:
            kept, _ = block.leaves.reach(self._queries[group], references)
        else:
            kept = np.ones((-(-len(sums) // STRIP), len(block.leaves.tops)), bool)
        queries = self._queries[group]
        added = np.zeros((len(queries), len(block.values)))
        self._kernel.add(queries, references, block.keys, block.bias, block.values, kept, added)
        sums += added[:, : sums.shape[1]]
        self.met[group] += np.repeat(LEAF * kept.sum(axis=1), STRIP)[: len(queries)]

    def _raise_references(
        self, group: slice, block: _Block, references: Array, sums: Array
    ) -> Kept:
        """Raise references to about the largest exponents; the leaves that then matter."""
        queries, leaves = self._queries[group], block.leaves
        maxima = references.copy()
        near = leaves.nearest(queries)
        raise_to_maxima(queries, block.keys, block.bias, near, maxima)
        kept, excess = leaves.reach(queries, maxima - self._margin)
        if excess > _HEADROOM + self._margin:
            raise_to_maxima(queries, block.keys, block.bias, kept & ~near, maxima)
            kept, _ = leaves.reach(queries, maxima - self._margin)
        np.rint(maxima, out=maxima)
        sums *= np.exp2(references - maxima)[:, None]
        references[:] = maxima
        return kept


def _padded(array: Array, rows: int, columns: int, filling: float = 0.0) -> Array:
    """An array filled up to multiples of rows and columns."""
    fill = [(0, -size % unit) for size, unit in zip(array.shape, (rows, columns), strict=True)]
    return np.pad(array, fill, constant_values=filling)
