"""Sums over all pairs within each of many small systems, some of them at a time."""

from __future__ import annotations

from itertools import product

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.direct import tiles
from meanformer.attention.backends.direct.pairs import PAIRS_WORTH_THREADS, factors_and_bias
from meanformer.attention.backends.kernels import LOG2_E, NOTHING, Kernel, scaled_features
from meanformer.attention.backends.workers import share_out_slices

# Products of so few multiplications take less time compiled than by a call of BLAS.
_SMALL_PRODUCT = 4096
# As many terms stay in L2 cache.
_TERMS = 50_000


class SystemSums:
    """``Backend`` for systems of equal numbers of targets and of points, all on this rank.

    Rows are those of one system after another.

    Args:
        queries: xi of the targets, ``shape=(systems m, r)``.
        keys: eta of the points, ``shape=(systems n, r)``.
        values: v of the points, ``shape=(systems n, d)``.
        kernel: Any, with queries and keys as of ``Problem``.
        systems: How many.
        seen: Of how many of its system's points, the first ones, each target of a system takes
            the sums, ``shape=(m,)``; None for all. Where it is 0, so are sums and scale.
    """

    def __init__(
        self,
        queries: Array,
        keys: Array,
        values: Array,
        kernel: Kernel,
        systems: int,
        seen: Indices | None = None,
    ) -> None:
        queries, keys, values = (apart(a, systems) for a in (queries, keys, values))
        self._kernel, self._shift = kernel, np.zeros(queries.shape[:2])
        if kernel.log_features is not None and keys.size:
            queries, keys, self._shift = scaled_features(queries, keys)
        targets, points = queries.shape[1], keys.shape[1]
        self._seen = np.full(targets, points) if seen is None else np.asarray(seen)
        # Terms and their products, about as many pairs in three dimensions.
        self._pairs = systems * int(self._seen.sum()) * max(1.0, queries.shape[2] / 8)
        small = targets * points * queries.shape[2] < _SMALL_PRODUCT
        self._multiply = tiles.multiply if small else np.matmul
        self._queries = queries
        self._keys = keys.transpose(0, 2, 1)
        if small:
            self._keys = np.ascontiguousarray(self._keys)
        self._values = np.ascontiguousarray(values)

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``; nothing is collective."""
        kernel, (systems, targets, _) = self._kernel, self._queries.shape
        factors, bias = factors_and_bias(kernel, weights, log_factors)
        factors, bias = (apart(a, systems) for a in (factors, bias))
        references = np.full((systems, targets), kernel.reference)
        totals, slack = np.zeros(references.shape), self._slack(bias)
        moments = np.empty((*references.shape, self._values.shape[2] if moment else 0))

        points = max(1, bias.shape[1])
        rows = min(targets, max(1, _TERMS // points))
        few = max(1, _TERMS // max(1, rows * points))
        starts = range(0, targets, max(1, rows))

        def work(those: slice) -> None:
            logits = np.empty((few, rows, bias.shape[1]))
            for first, start in product(range(those.start, those.stop, few), starts):
                some = slice(first, min(first + few, those.stop))
                here = some, slice(start, min(start + rows, targets))
                terms = logits[: some.stop - first, : here[1].stop - start]
                self._multiply(kernel.unit * self._queries[here], self._keys[some], terms)
                kernel.weigh(
                    terms, slack[here], bias[some], factors[some], self._seen[here[1]],
                    references[here], totals[here],
                )  # fmt: skip
                if moment:
                    self._multiply(terms, self._values[some], moments[here])

        share_out_slices(work, systems, self._pairs > PAIRS_WORTH_THREADS)
        scaled = kernel.exponential & (references > NOTHING / 2)
        log_scale = np.where(scaled, references / LOG2_E, self._shift).ravel()
        return Sums(log_scale, totals.ravel(), moments.reshape(len(log_scale), moments.shape[2]))

    def _slack(self, bias: Array) -> Array:
        """How far ties may be below the largest logit of each target, ``shape=(systems, m)``."""
        kernel, slack = self._kernel, np.zeros(self._queries.shape[:2])
        tolerance = kernel.tie_tolerance
        if tolerance and self._keys.size:
            lengths = np.sqrt((self._keys**2).sum(axis=1))
            longest = np.maximum.accumulate(np.where(bias > NOTHING / 2, lengths, 0.0), axis=1)
            of_targets = kernel.unit * np.sqrt((self._queries**2).sum(axis=2))
            slack = tolerance * longest[:, np.maximum(self._seen - 1, 0)] * of_targets
        return slack


def apart(rows: Array, systems: int) -> Array:
    """The rows of each system, ``shape=(systems n, ...)`` to ``(systems, n, ...)``."""
    count = len(rows) // systems if systems else 0
    return rows.reshape(systems, count, *rows.shape[1:])
