"""The direct backend: sums over all pairs in few dimensions, exact to round-off.

At large exponents, leaves of points whose terms all lie below the round-off of a target's sum are
left out: on S^2 at beta = 1000 that is 95 % of the pairs.
"""

from __future__ import annotations

from typing import NamedTuple

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.direct import tiles
from meanformer.attention.backends.direct.leaves import Kept, Leaves, leaf_order
from meanformer.attention.backends.direct.pairs import PairSums, largest, lengths
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

    Keys y have the ``shape=(r, n)``, bias ``(n,)``, values w, or w and w y, ``(c, n)``.
    """

    keys: Array
    bias: Array
    values: Array
    leaves: Leaves


class DirectSums(PairSums[_Block]):
    """Sums of a kernel over all pairs where keys and values are the points. See ``PairSums``.

    Queries are xi = A x for this rank's targets x, ``shape=(m, d)``.

    Attributes:
        met: How many points each target has met so far, those left out not counted,
            ``shape=(m,)``; targets in an order of their own.
    """

    def __init__(
        self, queries: Array, points: Array, comm: MPI.Comm, kernel: Kernel = Exponential()
    ) -> None:
        self.met = np.zeros(len(queries), int)
        total = comm.allreduce(len(points))
        negligible = _NEGLIGIBLE + np.log(max(total, 1))
        self._margin = LOG2_E * negligible
        # No logits differ by more than this.
        spread = 2 * largest(lengths(queries), comm) * largest(lengths(points), comm)
        pays = len(queries) * total > _PAIRS_WORTH_SORTING and spread > negligible
        group = int(np.clip(len(queries) // (4 * threads()) // tiles.STRIP, 1, 8)) * tiles.STRIP
        self._order: Indices = np.arange(len(points))
        target_order: Indices = np.arange(len(queries))
        if pays and kernel.local:
            self._order = leaf_order(points, tiles.LEAF)
            target_order = leaf_order(queries, tiles.STRIP)
        self._places = np.argsort(target_order)
        points = points[self._order]
        super().__init__(queries[target_order], points, points, comm, kernel, group)
        self._queries = _padded(self._queries, 1, tiles.COORDINATES)

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``; in the order of the arguments."""
        factors = None if log_factors is None else log_factors[self._order]
        in_leaves = super().sums(weights[self._order], factors, moment)
        return Sums(*(part[self._places] for part in in_leaves))

    def _block(self, keys: Array, values: Array, factors: Array, bias: Array) -> _Block:
        columns = np.vstack([factors, factors * values])
        # What is done in registers takes four columns, even for the partition alone.
        whole = tiles.COLUMNS if len(values) or len(keys) <= tiles.COORDINATES else 1
        return _Block(
            _padded(keys, tiles.COORDINATES, tiles.LANES),
            _padded(bias[None], 1, tiles.LANES, NOTHING)[0],
            _padded(columns, whole, tiles.LANES),
            Leaves.of(keys, bias),
        )

    def _raise_to_maxima(self, group: slice, block: _Block, references: Array, sums: Array) -> None:
        queries = self._queries[group]
        near = block.leaves.nearest(queries)
        tiles.raise_to_maxima(queries, block.keys, block.bias, near, references)
        kept, _ = block.leaves.reach(queries, references)
        tiles.raise_to_maxima(queries, block.keys, block.bias, kept & ~near, references)

    def _add(self, group: slice, block: _Block, references: Array, sums: Array) -> None:
        if self._kernel.exponential:
            kept = self._raise_references(group, block, references, sums)
        elif self._kernel.local:
            kept, _ = block.leaves.reach(self._queries[group], references)
        else:
            kept = np.ones((-(-len(sums) // tiles.STRIP), len(block.leaves.tops)), bool)
        queries = self._queries[group]
        added = np.zeros((len(queries), len(block.values)))
        self._kernel.add(queries, references, block.keys, block.bias, block.values, kept, added)
        sums += added[:, : sums.shape[1]]
        self.met[group] += np.repeat(tiles.LEAF * kept.sum(axis=1), tiles.STRIP)[: len(queries)]

    def _raise_references(
        self, group: slice, block: _Block, references: Array, sums: Array
    ) -> Kept:
        """Raise references to about the largest exponents; the leaves that then matter."""
        queries, leaves = self._queries[group], block.leaves
        maxima = references.copy()
        near = leaves.nearest(queries)
        tiles.raise_to_maxima(queries, block.keys, block.bias, near, maxima)
        kept, excess = leaves.reach(queries, maxima - self._margin)
        if excess > _HEADROOM + self._margin:
            tiles.raise_to_maxima(queries, block.keys, block.bias, kept & ~near, maxima)
            kept, _ = leaves.reach(queries, maxima - self._margin)
        np.rint(maxima, out=maxima)
        sums *= np.exp2(references - maxima)[:, None]
        references[:] = maxima
        return kept


def _padded(array: Array, rows: int, columns: int, filling: float = 0.0) -> Array:
    """An array filled up to multiples of rows and columns."""
    fill = [(0, -size % unit) for size, unit in zip(array.shape, (rows, columns), strict=True)]
    return np.pad(array, fill, constant_values=filling)
