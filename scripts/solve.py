"""``meanformer solve CASE``: run a case file."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from meanformer.mpi import MPI

from meanformer.scripts.command_line import add_case, refusal
from meanformer.simulation import Case
from meanformer.simulation.output.folder import on_root
from meanformer.simulation.requirements import check_dolfinx

EXIT_CODES = {"done": 0, "stopped": 3, "interrupted": 4}


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "solve",
        help="run a case file",
        description="Run what the case file has tables for, alone or under mpirun.",
        epilog="Exit codes: 0 done; 2 the case or the command line is wrong, nothing is written; "
        "3 the run stopped itself; 4 a signal (SIGTERM, SIGHUP, SIGUSR1 or Ctrl-C) stopped it, a "
        "checkpoint is written and --resume goes on. Under mpirun, signal a rank, or mpirun by "
        "SIGUSR1: at SIGTERM it kills the ranks, perhaps before a checkpoint is written. Any other "
        "code is an error, such as a full disk; the last good checkpoint is kept.",
    )
    add_case(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the run, instead of the case's"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint in the folder of the run, on any number of ranks; "
        "time.end, title, [compare] and [output] may have changed",
    )
    parser.add_argument(
        "--petsc",
        default="",
        metavar="OPTIONS",
        help="options for PETSc's solvers, with the prefix diffusion_, such as "
        '"-diffusion_pc_type gamg -diffusion_ksp_monitor"; those in PETSC_OPTIONS count, too',
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code. Collective over all ranks."""
    comm = MPI.COMM_WORLD
    # Read on rank 0, so that all ranks run the same or fail together.
    case: Case = comm.bcast(on_root(comm, lambda: Case.load(options.case, options.set)))
    check_dolfinx(case, comm)
    if case.pde is not None:
        _set_petsc_options(options.petsc)
    elif options.petsc:
        raise refusal("--petsc: the case has no [pde], whose solver it is for")
    from meanformer.simulation import run  # solvers are slow to import: wrong cases fail first

    folder = options.output or Path(case.output.directory)
    result = run(case, output=folder, comm=comm, progress=True, resume=options.resume)
    if comm.rank == 0:
        _report(result.summary, folder, options)
    return EXIT_CODES[result.status]


def _set_petsc_options(text: str) -> None:
    """Put options into PETSc's database.

    Raises:
        CaseError: If a word that should be a name has no dash.
    """
    from petsc4py import PETSc

    words = text.split()
    if words and not words[0].startswith("-"):
        raise refusal(
            f"--petsc: {words[0]!r} is not allowed; must begin with the name of an option: -name"
        )
    PETSc.Options().insertString(text)


def _report(summary: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    """Say on the terminal how the run ended."""
    if summary["reason"]:
        print(f"{summary['status']}: {summary['reason']}", file=sys.stderr)
    for warning in summary["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    steps = ", ".join(f"{count} {name}" for name, count in summary["steps"].items())
    seconds = summary["wall_time"]["total"]
    print(f"t = {summary['time']:g} after {seconds:.1f} s ({steps} steps): {folder}")
    if summary["status"] == "interrupted":
        launcher = ["mpirun", "-n", str(summary["ranks"])] if summary["ranks"] > 1 else []
        again = [word for word in options.words if word != "--resume"]
        command = shlex.join([*launcher, "meanformer", *again, "--resume"])
        print(f"to go on: {command}", file=sys.stderr)
