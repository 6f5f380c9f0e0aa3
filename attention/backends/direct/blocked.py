r"""The blocked backend: sums over all pairs by matrix products, in many dimensions.

The logits of a block of targets with a block of points are one matrix product, sum_j k_ij v_j is
another. Between them compiled passes turn logits into terms, scaled by a running maximum (online
softmax, 1805.02867; in blocks, 2205.14135).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.direct.pairs import PairSums
from meanformer.attention.backends.direct.tiles import raise_to_row_maxima
from meanformer.attention.backends.kernels import Exponential, Kernel
from meanformer.threads import threads

# Larger than L2 cache, for which matrix products are faster: measured on Zen 5.
_TARGETS, _POINTS = 512, 1024
# Bits by which terms may exceed their reference before sums are scaled anew.
_SLACK = 8.0


class _Block(NamedTuple):
    """One rank's points: ``shape=(n, r)``, ``(d, n)``, ``(n,)`` and ``(n,)``."""

    keys: Array
    values: Array
    factors: Array
    bias: Array


class BlockedSums(PairSums[_Block]):
    """Sums of a kernel over all pairs, as matrix products. See ``PairSums``."""

    def __init__(
        self,
        queries: Array,
        keys: Array,
        values: Array,
        comm: MPI.Comm,
        kernel: Kernel = Exponential(),
    ) -> None:
        group = int(np.clip(len(queries) // (2 * threads()), 32, _TARGETS))
        super().__init__(queries, keys, values, comm, kernel, group)

    def _block(self, keys: Array, values: Array, factors: Array, bias: Array) -> _Block:
        # Matrix products like their factors turned so.
        return _Block(keys.T.copy(), values, factors, bias)

    def _logits(self, group: slice, block: _Block) -> Iterator[tuple[Array, slice]]:
        """Logits without bias of a group with some points after others, to be overwritten."""
        queries, count = self._queries[group], len(block.bias)
        space = np.empty(len(queries) * _POINTS)
        for first in range(0, count, _POINTS):
            some = slice(first, min(first + _POINTS, count))
            shape = len(queries), some.stop - first
            logits = space[: shape[0] * shape[1]].reshape(shape)
            yield np.matmul(queries, block.keys[some].T, out=logits), some

    def _raise_to_maxima(self, group: slice, block: _Block, references: Array, sums: Array) -> None:
        for logits, some in self._logits(group, block):
            raise_to_row_maxima(logits, block.bias[some], references)

    def _add(self, group: slice, block: _Block, references: Array, sums: Array) -> None:
        product = np.empty((len(sums), len(block.values)))
        for logits, some in self._logits(group, block):
            bias = block.bias[some]
            if self._kernel.exponential:
                maxima = references.copy()
                raise_to_row_maxima(logits, bias, maxima)
                raised = np.where(maxima > references + _SLACK, np.ceil(maxima), references)
                if np.any(raised != references):
                    sums *= np.exp2(references - raised)[:, None]
                    references[:] = raised
            totals = np.zeros(len(sums))
            self._kernel.turn(logits, bias, block.factors[some], references, totals)
            sums[:, 0] += totals
            if len(block.values):
                sums[:, 1:] += np.matmul(logits, block.values[:, some].T, out=product)
