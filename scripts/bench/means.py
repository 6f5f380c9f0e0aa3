r"""Softmax means as peers compute them: sum_j w_j e^{<k_i, y_j>} y_j / Z_i, over all pairs.

Each peer has several forms, functions of keys k, ``shape=(m, d)``, points y, ``shape=(n, d)``, and
weights w, ``shape=(n,)``. Those of KeOps and of torch also take stacks of systems, ``shape=(R, m,
d)``, ``(R, n, d)`` and ``(R, n)``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from meanformer.arrays import Array

Means = Callable[[Any, Any, Any], Any]

# A matrix of all logits may take as many bytes.
_MATRIX_BYTES = 2e9


def by_keops(d: int) -> dict[str, Means]:
    """The reduction SumSoftMaxWeight (kernel-operations.io), or sums shifted by a bound."""
    reduction = import_module("pykeops.numpy").Genred
    pair = [f"X=Vi({d})", f"Y=Vj({d})"]
    given = [*pair, "W=Vj(1)", f"V=Vj({d})"]
    average = reduction("(X|Y) + Log(W)", given, "SumSoftMaxWeight", axis=1, formula2="V")
    given = [*pair, f"V=Vj({d + 1})", "B=Vi(1)"]
    total = reduction("Exp((X|Y) - B) * V", given, "Sum", axis=1)

    def softmax(keys: Array, points: Array, weights: Array) -> Array:
        return average(keys, points, weights[..., None].copy(), points, backend="CPU")

    def shifted(keys: Array, points: Array, weights: Array) -> Array:
        longest = np.linalg.norm(points, axis=-1).max()
        bound = np.linalg.norm(keys, axis=-1, keepdims=True) * longest
        columns = weights[..., None]
        values = np.concatenate([columns, columns * points], axis=-1)
        sums = total(keys, points, values, bound, backend="CPU")
        return sums[..., 1:] / sums[..., :1]

    return {"SumSoftMaxWeight": softmax, "Sum of Exp, shifted": shifted}


def by_torch(logits: int, equal: bool) -> dict[str, Means]:
    """``scaled_dot_product_attention``, whose kernel is fused and tiled, or the matrix of logits.

    Args:
        logits: How many there are. If they do not fit into memory, there is no second form.
        equal: Whether weights are equal, and need not be given.
    """
    torch = import_module("torch")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.set_grad_enabled(False)

    def fused(keys: Any, points: Any, weights: Any) -> Any:
        mask = None if equal else torch.log(weights)[..., None, None, :]
        # The kernel is fused for systems of heads: here, of one.
        stacks = (each.reshape(-1, 1, *each.shape[-2:]) for each in (keys, points, points))
        product = torch.nn.functional.scaled_dot_product_attention
        return product(*stacks, attn_mask=mask, scale=1.0).reshape(keys.shape)

    def matrix(keys: Any, points: Any, weights: Any) -> Any:
        terms = keys @ points.mT
        if not equal:
            terms += torch.log(weights)[..., None, :]
        return torch.softmax(terms, -1) @ points

    forms: dict[str, Means] = {"fused": fused}
    if 3.0 * 8 * logits < _MATRIX_BYTES:
        forms["matrix"] = matrix
    return forms


def by_numpy(points: int) -> dict[str, Means]:
    """A loop over blocks of 2^18, 2^20 or 2^22 logits: what a careful user would write.

    Each core works on a block, so that exponentials use all of them, not the products alone.

    Args:
        points: n.
    """
    pool = ThreadPoolExecutor(int(os.environ["BENCH_THREADS"]))

    def in_blocks(keys: Array, points: Array, weights: Array, rows: int) -> Array:
        blocks = (keys[start : start + rows] for start in range(0, len(keys), rows))
        return np.vstack(list(pool.map(lambda block: softmax_mean(block, points, weights), blocks)))

    sizes = [max(1, 2**power // points) for power in (18, 20, 22)]
    return {f"blocks of {rows} targets": partial(in_blocks, rows=rows) for rows in sizes}


def softmax_mean(keys: Array, points: Array, weights: Array) -> Array:
    """The means by their definition; also of stacks."""
    logits = keys @ points.swapaxes(-1, -2)
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits *= weights[..., None, :]
    return (logits @ points) / logits.sum(axis=-1, keepdims=True)
