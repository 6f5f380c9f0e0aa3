"""One process without MPI: what stands in for ``mpi4py.MPI`` where there is no MPI library.

It has as much of it as a run of one process uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

# Any reduction of one rank's value is that value.
SUM = MIN = MAX = LAND = "reduction"
IN_PLACE = "in place"


class Intracomm:
    """A communicator of one rank. What it returns are copies, as with MPI, but for ``bcast``."""

    rank = 0
    size = 1

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """The object itself."""
        return obj

    def allreduce(self, sendobj: Any, op: str = SUM) -> Any:
        """The object."""
        return deepcopy(sendobj)

    def gather(self, sendobj: Any, root: int = 0) -> list[Any]:
        """The object alone in a list."""
        return [deepcopy(sendobj)]

    def allgather(self, sendobj: Any) -> list[Any]:
        """The object alone in a list."""
        return [deepcopy(sendobj)]

    def scatter(self, sendobj: Sequence[Any], root: int = 0) -> Any:
        """The only entry."""
        (only,) = sendobj
        return deepcopy(only)

    def Allreduce(self, sendbuf: str, recvbuf: Any, op: str = SUM) -> None:
        """Leave the array as it is, which is the result in place."""

    def barrier(self) -> None:
        """Wait for nobody."""


Comm = Intracomm
COMM_WORLD = COMM_SELF = Intracomm()
