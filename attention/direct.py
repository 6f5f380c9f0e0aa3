r"""The direct backend: attention by summation over all pairs, in one compiled pass.

For any logits <A x, y> in any dimension. Each target keeps a running maximum of its logits and
sums scaled by it (online softmax), so that Z keeps its relative accuracy at any exponent. Points
distributed over ranks are passed around block by block.
"""

from __future__ import annotations

from mpi4py import MPI

import numba
import numpy as np

from meanformer.attention.spaces import Array
from meanformer.attention.threads import threads

_TILE = 256
# Waking threads takes longer than summing fewer pairs.
_PAIRS_WORTH_THREADS = 200_000
_LOG2_E = 1.4426950408889634
# ln 2 in two parts: the first has trailing zeros, so that k * _LN2_HIGH is exact for |k| < 2^11.
_LN2_HIGH = 0.693145751953125
_LN2_LOW = 1.4286068203094172321e-6


@numba.njit(inline="always")
def _exp_unscaled(r: float) -> float:
    """e^r for |r| <= ln(2)/2 by its Taylor polynomial of degree 13 (error below 1e-16)."""
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    return p * r + 1.0


@numba.njit(parallel=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _accumulate(keys, points, weights, maximum, total, moment):  # type: ignore[no-untyped-def]
    """Add the points' e^{<key, y>} w and y e^{<key, y>} w to each target's scaled sums."""
    n, d = points.shape
    for i in numba.prange(keys.shape[0]):
        logits = np.empty(_TILE)
        exponent = np.empty(_TILE, np.int64)
        power = exponent.view(np.float64)
        top, sum_, first = maximum[i], total[i], np.zeros(d)
        first[:] = moment[i]
        for start in range(0, n, _TILE):
            size = min(_TILE, n - start)
            for j in range(size):
                logits[j] = 0.0
            for k in range(d):
                for j in range(size):
                    logits[j] += keys[i, k] * points[start + j, k]
            tile_top = logits[0]
            for j in range(1, size):
                tile_top = max(tile_top, logits[j])
            if tile_top > top:
                scale = np.exp(top - tile_top)
                sum_ *= scale
                for k in range(d):
                    first[k] *= scale
                top = tile_top
            for j in range(size):
                t = max(logits[j] - top, -700.0)
                k_ = np.floor(t * _LOG2_E + 0.5)
                exponent[j] = (np.int64(k_) + 1023) << 52
                logits[j] = _exp_unscaled((t - k_ * _LN2_HIGH) - k_ * _LN2_LOW)
            for j in range(size):
                logits[j] *= power[j] * weights[start + j]
            for j in range(size):
                sum_ += logits[j]
            for k in range(d):
                partial = 0.0
                for j in range(size):
                    partial += logits[j] * points[start + j, k]
                first[k] += partial
        maximum[i], total[i] = top, sum_
        moment[i] = first


def direct_sums(
    keys: Array, points: Array, weights: Array, comm: MPI.Comm | None
) -> tuple[Array, Array, Array]:
    """Sums over all points of e^{<key, y>}, scaled by each target's largest term.

    Collective over ``comm``.

    Args:
        keys: A x for this rank's targets x, ``shape=(m, d)``.
        points: This rank's points y, ``shape=(n, d)``.
        weights: This rank's weights, ``shape=(n,)``.
        comm: The ranks over which the points are distributed, or None.

    Returns:
        The maximal logit c, ``shape=(m,)``; sum_j w_j e^{<key, y_j> - c}, ``shape=(m,)``; and
        sum_j w_j y_j e^{<key, y_j> - c}, ``shape=(m, d)``.
    """
    count, dimension = keys.shape
    maximum, total = np.full(count, -np.inf), np.zeros(count)
    moment = np.zeros((count, dimension))
    # What weighs nothing must not set the maximum.
    block = np.column_stack([points, weights])[weights != 0]
    for rank in range(1 if comm is None else comm.size):
        incoming = block if comm is None else comm.bcast(block, root=rank)
        if len(incoming) and count:
            worthwhile = count * len(incoming) > _PAIRS_WORTH_THREADS
            numba.set_num_threads(
                min(threads(), numba.config.NUMBA_NUM_THREADS) if worthwhile else 1
            )
            # Column-major points: the loops over a tile run along one coordinate.
            passed = np.asfortranarray(incoming[:, :-1])
            _accumulate(
                np.ascontiguousarray(keys), passed, incoming[:, -1].copy(), maximum, total, moment
            )
    return maximum, total, moment
