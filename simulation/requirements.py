"""Whether DOLFINx is there, which a density needs and tokens do not, and how to get it."""

from __future__ import annotations

from importlib import import_module

from meanformer.mpi import MPI

from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError

# What the density's side imports first; it needs all of DOLFINx, with PETSc.
_MODULE = "dolfinx.fem.petsc"
_COMMANDS = """
    pip install "meanformer[dolfinx]"  (Linux x86-64, Python 3.12 or newer)
    conda install -c conda-forge "fenics-dolfinx>=0.9" mpich"""


def check_dolfinx(case: Case, comm: MPI.Intracomm) -> None:
    """Check that DOLFINx can be imported, if a case has a density. Collective over ``comm``.

    Raises:
        CaseError: On every rank, if it cannot on any of them.
    """
    if case.pde is None:
        return
    problem = next(filter(None, comm.allgather(why_no_dolfinx())), None)
    if problem:
        alone = "\n    --set pde=none  runs the tokens alone" if case.particles is not None else ""
        raise CaseError([f"pde: {problem}{alone}"])


def why_no_dolfinx() -> str:
    """Why DOLFINx cannot be used by this process, and the commands that help; empty if it can."""
    try:
        import_module(_MODULE)
    except ImportError as error:
        missing = f"needs DOLFINx, which is missing here ({error})"
        return f"{missing}; one of these installs it:{_COMMANDS}"
    return ""
