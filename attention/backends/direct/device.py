"""Sums over all pairs by matrix products on a device that torch knows, such as a GPU.

The arithmetic is that of ``blocked``: online softmax (1805.02867) in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.direct.pairs import PairSums
from meanformer.attention.backends.kernels import Kernel

# Logits of so many targets and points at a time are half a gigabyte.
_TARGETS, _POINTS = 4096, 16_384


class _Block(NamedTuple):
    """One rank's points as tensors: ``shape=(r, n)``, ``(d, n)``, ``(n,)`` and ``(n,)``."""

    keys: Any
    values: Any
    factors: Any
    bias: Any


class DeviceSums(PairSums[_Block]):
    """Sums of a kernel over all pairs, on a device. See ``PairSums``.

    Args:
        queries: As of ``PairSums``.
        keys: Likewise.
        values: Likewise.
        comm: Likewise. Ranks take the GPUs of their machine in turn.
        kernel: Likewise.
        device: torch's name of it: "cuda" or "cpu".
    """

    def __init__(
        self,
        queries: Array,
        keys: Array,
        values: Array,
        comm: MPI.Comm,
        kernel: Kernel,
        device: str = "cuda",
    ) -> None:
        self._torch = torch = import_module("torch")
        number = f":{comm.rank % torch.cuda.device_count()}" if device == "cuda" else ""
        self._device = device + number
        super().__init__(queries, keys, values, comm, kernel, _TARGETS)
        self._there = self._tensor(self._queries)

    def _tensor(self, array: Array) -> Any:
        return self._torch.as_tensor(np.ascontiguousarray(array), device=self._device)

    def _block(self, keys: Array, values: Array, factors: Array, bias: Array) -> _Block:
        return _Block(*(self._tensor(each) for each in (keys, values, factors, bias)))

    def _logits(self, group: slice, block: _Block) -> Iterator[tuple[Any, slice]]:
        """Logits with bias of a group with some points after others."""
        for first in range(0, len(block.bias), _POINTS):
            some = slice(first, min(first + _POINTS, len(block.bias)))
            yield self._there[group] @ block.keys[:, some] + block.bias[some], some

    def _raise_to_maxima(self, group: slice, block: _Block, references: Array, sums: Array) -> None:
        for logits, _ in self._logits(group, block):
            np.maximum(references, logits.amax(1).cpu().numpy(), out=references)

    def _add(self, group: slice, block: _Block, references: Array, sums: Array) -> None:
        torch, kernel = self._torch, self._kernel
        bases, totals = self._tensor(references), self._tensor(sums)
        for logits, some in self._logits(group, block):
            if kernel.exponential:
                raised = torch.maximum(bases, logits.amax(1).ceil())
                totals *= torch.exp2(bases - raised)[:, None]
                bases = raised
            terms = block.factors[some] * kernel.term(torch, logits - bases[:, None])
            totals[:, 0] += terms.sum(1)
            if len(block.values):
                totals[:, 1:] += terms @ block.values[:, some].T
        references[:] = bases.cpu().numpy()
        sums[:] = totals.cpu().numpy()


def why_no_gpu() -> str:
    """Why this process cannot compute on a GPU; empty if it can."""
    try:
        torch = import_module("torch")
    except ImportError:
        return "needs torch, which is missing here"
    return "" if torch.cuda.is_available() else "needs a GPU that torch can use; there is none here"
