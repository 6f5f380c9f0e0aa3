"""How many threads one process takes."""

from __future__ import annotations

import os

from mpi4py import MPI


def threads() -> int:
    """All cores open to the process when it runs alone; one when ranks share the machine."""
    if MPI.COMM_WORLD.size > 1:
        return 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
