"""Sums over all pairs within each of many small systems: one compiled call for all of them."""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.direct import tiles
from meanformer.attention.backends.direct.pairs import PAIRS_WORTH_THREADS, factors_and_bias
from meanformer.attention.backends.kernels import LOG2_E, NOTHING, Kernel, scaled_features
from meanformer.attention.backends.workers import share_out_slices


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
        fill = ((0, 0), (0, 0), (0, -queries.shape[2] % tiles.COORDINATES))
        self._queries: Array = kernel.unit * np.pad(queries, fill)
        self._keys = np.ascontiguousarray(np.pad(keys, fill).transpose(0, 2, 1))
        self._values = np.ascontiguousarray(values.transpose(0, 2, 1))
        self._pairs = systems * int(self._seen.sum())

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``; nothing is collective."""
        kernel, systems = self._kernel, len(self._queries)
        factors, bias = factors_and_bias(kernel, weights, log_factors)
        factors, bias = (apart(a, systems) for a in (factors, bias))
        columns = factors[:, None]
        if moment:
            columns = np.concatenate([columns, columns * self._values], axis=1)
        references = np.full(self._queries.shape[:2], kernel.reference)
        sums = np.zeros((*references.shape, columns.shape[1]))
        slack = self._slack(bias)

        def work(some: slice) -> None:
            kernel.gather(
                self._queries[some], slack[some], self._keys[some], bias[some], columns[some],
                self._seen, references[some], sums[some],
            )  # fmt: skip

        share_out_slices(work, systems, self._pairs > PAIRS_WORTH_THREADS)
        scaled = kernel.exponential & (references > NOTHING / 2)
        log_scale = np.where(scaled, references / LOG2_E, self._shift).ravel()
        rows = sums.reshape(-1, sums.shape[2])
        return Sums(log_scale, rows[:, 0], rows[:, 1:])

    def _slack(self, bias: Array) -> Array:
        """How far ties may be below the largest logit of each target, ``shape=(systems, m)``."""
        tolerance, slack = self._kernel.tie_tolerance, np.zeros(self._queries.shape[:2])
        if tolerance and self._keys.size:
            lengths = np.sqrt((self._keys**2).sum(axis=1))
            longest = np.maximum.accumulate(np.where(bias > NOTHING / 2, lengths, 0.0), axis=1)
            of_targets = np.sqrt((self._queries**2).sum(axis=2))
            slack = tolerance * longest[:, np.maximum(self._seen - 1, 0)] * of_targets
        return slack


def apart(rows: Array, systems: int) -> Array:
    """The rows of each system, ``shape=(systems n, ...)`` to ``(systems, n, ...)``."""
    count = len(rows) // systems if systems else 0
    return rows.reshape(systems, count, *rows.shape[1:])
