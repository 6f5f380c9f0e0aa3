"""Blocks of points passed around a ring of ranks, so that each rank meets the points of all."""

from __future__ import annotations

from collections.abc import Iterator

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array


def around_the_ring(block: Array, comm: MPI.Comm | None) -> Iterator[Array]:
    """Yield the blocks of all ranks, this rank's own first, while the next one is on its way.

    Collective over ``comm``; every rank must take all of the blocks. Each rank sends, in all, the
    bytes of the other ranks' blocks, and holds two blocks at a time.

    Args:
        block: This rank's, ``shape=(k, n)`` with the same k on all ranks and any n.
        comm: The ranks, or None for this one alone.

    Yields:
        Blocks, ``shape=(k, n)``, C-contiguous.
    """
    block = np.ascontiguousarray(block)
    if comm is None or comm.size == 1:
        yield block
        return
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
        MPI.Request.Waitall(requests)
        block = incoming
