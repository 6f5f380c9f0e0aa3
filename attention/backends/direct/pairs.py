"""What backends that sum over all pairs share: weights in bits, references, the ring of ranks.

A term w e^{t + l} is m 2^{t log_2 e + b}: m is the weight's mantissa, and its exponent is part of
the bias b. So weights of any size neither overflow nor vanish. Sums are scaled by 2^-c, where the
reference c is an integer close to the largest exponent a target has met, so that they keep their
relative accuracy at any beta.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.kernels import LOG2_E, NOTHING, Kernel
from meanformer.attention.backends.workers import share_out

Block = TypeVar("Block")

#: Dimension from which ``BlockedSums`` is faster than ``DirectSums``: matrix products with fewer
#: columns take as long (1.5 ns a pair on Zen 5 in dimension 8, by either).
BLOCKED_FROM = 8
#: Fewer pairs are summed in less time than it takes to start threads.
PAIRS_WORTH_THREADS = 300_000


class PairSums(ABC, Generic[Block]):
    """Sums of a kernel over all pairs of a target and a point: a ``Backend``.

    Args:
        queries: xi for this rank's targets, ``shape=(m, r)``.
        keys: eta of this rank's points, ``shape=(n, r)``.
        values: v of this rank's points, ``shape=(n, d)``. If they are the keys, other ranks get
            both at once.
        comm: The ranks over which the points are distributed.
        kernel: A function of the logits <xi, eta>. Unless it is exponential, there are no
            ``log_factors``, and ``log_scale`` is zero.
        group: How many targets a thread takes at a time.
    """

    def __init__(
        self,
        queries: Array,
        keys: Array,
        values: Array,
        comm: MPI.Comm,
        kernel: Kernel,
        group: int,
    ) -> None:
        self._comm, self._kernel = comm, kernel
        self._queries: Array = np.ascontiguousarray(kernel.unit * queries)
        # The points by rows, one coordinate after another.
        rows = [keys.T] if values is keys else [keys.T, values.T]
        self._rows = np.vstack(rows)
        self._keys = slice(keys.shape[1])
        self._values = slice(len(self._rows) - values.shape[1], len(self._rows))
        targets = len(queries)
        self._groups = [slice(i, min(i + group, targets)) for i in range(0, targets, group)]

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``."""
        own = np.vstack([self._rows, *factors_and_bias(self._kernel, weights, log_factors)])

        values = self._values if moment else slice(0, 0)
        references = np.full(len(self._queries), self._kernel.reference)
        sums = np.zeros((len(self._queries), 1 + values.stop - values.start))
        if self._kernel.tie_tolerance is not None:
            self._meet_all(own, values, self._raise_to_maxima, references, sums)
            longest = largest(lengths(self._rows[self._keys, weights != 0].T), self._comm)
            references -= self._kernel.tie_tolerance * longest * lengths(self._queries)
        self._meet_all(own, values, self._add, references, sums)
        scaled = self._kernel.exponential & (references > NOTHING / 2)
        return Sums(np.where(scaled, references / LOG2_E, 0.0), sums[:, 0], sums[:, 1:])

    def _meet_all(
        self,
        own: Array,
        values: slice,
        meet: Callable[[slice, Block, Array, Array], None],
        references: Array,
        sums: Array,
    ) -> None:
        """Let each group of targets meet the points of each rank."""
        for points in _around_the_ring(own, self._comm):
            if points.shape[1] == 0:
                continue
            block = self._block(points[self._keys], points[values], points[-2], points[-1])

            def work(group: slice, block: Block = block) -> None:
                meet(group, block, references[group], sums[group])

            pairs = len(self._queries) * points.shape[1]
            share_out(work, self._groups, pairs > PAIRS_WORTH_THREADS)

    @abstractmethod
    def _block(self, keys: Array, values: Array, factors: Array, bias: Array) -> Block:
        """Prepare one rank's points, ``shape=(r, n)``, ``(d, n)``, ``(n,)`` and ``(n,)``, n > 0."""

    @abstractmethod
    def _raise_to_maxima(self, group: slice, block: Block, references: Array, sums: Array) -> None:
        """Raise a group's references to its largest logits with bias."""

    @abstractmethod
    def _add(self, group: slice, block: Block, references: Array, sums: Array) -> None:
        """Add a block's terms to a group's sums; of the exponential kernel, scale both anew."""


def _around_the_ring(block: Array, comm: MPI.Comm) -> Iterator[Array]:
    """Yield the blocks of all ranks, this rank's own first, while the next one is on its way.

    Collective; every rank must take all of the blocks. Each rank sends, in all, the bytes of the
    other ranks' blocks, and holds two blocks at a time. Blocks have the ``shape=(k, n)`` with the
    same k on all ranks and any n; those yielded are C-contiguous.
    """
    block = np.ascontiguousarray(block)
    rows, columns = len(block), comm.allgather(block.shape[1])
    for step in range(comm.size):
        requests = []
        incoming = block
        if step < comm.size - 1:
            source = (comm.rank - step - 1) % comm.size
            incoming = np.empty((rows, columns[source]), block.dtype)
            requests = [
                comm.Irecv(incoming, (comm.rank - 1) % comm.size),
                comm.Isend(block, (comm.rank + 1) % comm.size),
            ]
        yield block
        if requests:
            MPI.Request.Waitall(requests)
        block = incoming


def factors_and_bias(
    kernel: Kernel, weights: Array, log_factors: Array | None
) -> tuple[Array, Array]:
    """What multiplies a point's terms, and what is added to its logits, ``shape=(n,)`` each."""
    bias = np.where(weights != 0, 0.0, NOTHING)
    if not kernel.exponential:
        return weights, bias
    factors, exponents = np.frexp(weights)
    bias += exponents
    if log_factors is not None:
        bias += LOG2_E * log_factors
    return factors, bias


def direct_cost(targets: int, points: int, dimension: int) -> float:
    """Seconds on one core (Zen 5) for the sums over all pairs by the faster backend."""
    if dimension <= 3:
        pair = 0.48e-9
    elif dimension < BLOCKED_FROM:
        pair = 0.5e-9 + 0.14e-9 * dimension
    else:
        pair = 1.1e-9 + 0.0755e-9 * dimension
    return pair * targets * points


def lengths(vectors: Array) -> Array:
    """|v| of vectors, ``shape=(n, d)`` to ``shape=(n,)``."""
    squares: Array = np.einsum("ij,ij->i", vectors, vectors)
    return np.sqrt(squares)


def largest(numbers: Array, comm: MPI.Comm) -> float:
    """The largest of all ranks' non-negative numbers; zero if there are none. Collective."""
    return comm.allreduce(float(numbers.max(initial=0.0)), MPI.MAX)
