"""MPI, or one process where there is no MPI library.

Wheels of mpi4py come without an MPI library and look for one. Where they find none, a run is one
process, and ``MPI`` is ``meanformer.serial``.
"""

from __future__ import annotations

import os

# The number of ranks, as launchers of MPICH, Open MPI and Slurm tell it to each of them.
_NUMBERS_OF_RANKS = ("PMI_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")

try:
    from mpi4py import MPI

    _vendor, _version = MPI.get_vendor()
    #: The MPI library, such as "Open MPI 5.0.7"; "none" where there is none.
    LIBRARY = f"{_vendor} {'.'.join(map(str, _version))}"
except RuntimeError as error:
    if not str(error).startswith("cannot load MPI library"):
        raise
    if any(os.environ.get(name, "1") != "1" for name in _NUMBERS_OF_RANKS):
        raise RuntimeError(
            "this is one of several ranks, but mpi4py finds no MPI library to tell them apart; "
            "'pip install mpich' gives one, with an mpirun of its own"
        ) from error
    from meanformer import serial as MPI

    LIBRARY = "none"

__all__ = ["LIBRARY", "MPI"]
