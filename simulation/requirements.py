"""Whether there is what a case needs: DOLFINx for a density, memory for tokens, a GPU."""

from __future__ import annotations

import os
import platform
from importlib import import_module

from meanformer.mpi import MPI

from meanformer.attention.backends.direct.device import why_no_gpu
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError

# What the density's side imports first; it needs all of DOLFINx, with PETSc.
_MODULE = "dolfinx.fem.petsc"
_COMMANDS = """
    pip install "meanformer[dolfinx]"  (Linux x86-64, Python 3.12 or newer)
    conda install -c conda-forge "fenics-dolfinx>=0.9" mpich"""

# Steps and attention hold at least as many arrays of all tokens' coordinates (measured: 19 to 48).
_COPIES = 19


def check_memory(case: Case, comm: MPI.Intracomm) -> None:
    """Check that the tokens of a case fit into the memory of the machines. Collective.

    Raises:
        CaseError: On every rank, if they do not.
    """
    machines = dict(comm.allgather((platform.node(), _memory())))
    if case.particles is None or not all(machines.values()):
        return
    number, systems = case.particles.number, case.particles.systems
    prompt = case.prompt.number if case.prompt is not None else 0  # beside each system
    there, each = sum(machines.values()), _COPIES * 8 * case.space.dimension
    many, needed = there // each, (number + prompt) * systems
    if needed <= many:
        return
    what = f"{number} tokens" if systems == 1 else f"{systems} systems of {number} tokens"
    beside = f" with a prompt of {prompt}" if prompt else ""
    gigabytes = f"{each * needed / 2**30:.3g} GiB, more than the {there / 2**30:.3g} there"
    key, most, where = "systems", many // (number + prompt), ""
    if systems == 1 or not most:
        key, most = "number", many // systems - prompt
    if most < 1:  # so many systems are too many of whatever tokens
        most, where = many - prompt, ", of one system"
    raise CaseError(
        [f"particles.{key}: {what}{beside} need {gigabytes}; must be at most {most}{where}"]
    )


def _memory() -> int:
    """Bytes of this machine's memory; 0 where the system does not tell."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    if not set(names) <= set(os.sysconf_names):
        return 0
    return os.sysconf(names[0]) * os.sysconf(names[1])


def check_device(case: Case, comm: MPI.Intracomm) -> None:
    """Check that there is the device that a case asks for. Collective over ``comm``.

    Raises:
        CaseError: On every rank, if there is none on any of them.
    """
    if case.attention.device == "cpu":
        return
    problem = next(filter(None, comm.allgather(why_no_gpu())), None)
    if problem:
        raise CaseError([f"attention.device: {case.attention.device!r} {problem}; must be 'cpu'"])


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
