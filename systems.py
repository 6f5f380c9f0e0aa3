"""How tokens belong to systems that do not see each other, and systems to ranks."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.serial import COMM_SELF


class Systems:
    """Independent systems of equally many tokens each, one after another.

    One system is shared by all ranks. Of several, each rank has whole ones, or none.

    Args:
        comm: The ranks.
        rows: Of this rank's tokens. Collective.
        count: Of systems on all ranks, at least 1.

    Attributes:
        comm: The ranks.
        within: The ranks that share each of this rank's systems.
        count: Of systems on all ranks.
        number: Of tokens in each.
        first: Global number of this rank's first token; the others follow.
        here: Numbers of the systems of which this rank has tokens.

    Raises:
        ValueError: On every rank, if there is no token, ``count`` is not positive, or tokens of any
            rank are not those of whole systems.
    """

    def __init__(self, comm: MPI.Intracomm, rows: int, count: int = 1) -> None:
        if count < 1:
            raise ValueError(f"tokens: systems is {count}; there must be at least one")
        rows_of_ranks = comm.allgather(rows)
        total, self.first = sum(rows_of_ranks), sum(rows_of_ranks[: comm.rank])
        if total == 0:
            raise ValueError("tokens: there must be at least one")
        self.comm, self.count, self.number = comm, count, total // count
        if count == 1:
            self.within, self.here = comm, range(1)
            return
        if total % count or any(rows % self.number for rows in rows_of_ranks):
            raise ValueError(
                f"tokens: ranks have {rows_of_ranks}; each must have those of whole systems, and "
                f"all of them those of {count}"
            )
        self.within = COMM_SELF
        self.here = range(self.first // self.number, (self.first + rows) // self.number)

    def apart(self, rows: npt.NDArray[np.generic]) -> Array:
        """This rank's rows by system, ``shape=(n_local, ...)`` to ``(len(here), n, ...)``."""
        count = len(rows) // len(self.here) if self.here else 0
        return rows.reshape(len(self.here), count, *rows.shape[1:])
