"""``meanformer solve CASE``: run a case file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mpi4py import MPI

from meanformer.simulation import Case, CaseError

DONE, WRONG, STOPPED = 0, 2, 3


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "solve",
        help="run a case file",
        description="Run what the case file has tables for, alone or under mpirun.",
        epilog="Exit codes: 0 done; 2 the case or the command line is wrong, nothing is written; "
        "3 the run stopped itself.",
    )
    parser.add_argument("case", type=Path, metavar="CASE", help="a case file (TOML)")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the run, instead of the case's"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="change a key of the case; may be repeated",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code. Collective over all ranks."""
    comm = MPI.COMM_WORLD
    try:
        case = _load(options, comm)
        from meanformer.simulation import run  # DOLFINx is slow to import: wrong cases fail first

        folder = options.output or Path(case.output.directory)
        result = run(case, output=folder, comm=comm, progress=True)
    except CaseError as error:
        if comm.rank == 0:
            print(error, file=sys.stderr)
        return WRONG
    if comm.rank == 0:
        _report(result.summary, folder)
    return DONE if result.status == "done" else STOPPED


def _load(options: argparse.Namespace, comm: MPI.Comm) -> Case:
    """Read the case on rank 0, so that all ranks run the same or fail together."""
    outcome: Case | CaseError | None = None
    if comm.rank == 0:
        try:
            outcome = Case.load(options.case, options.set)
        except CaseError as error:
            outcome = error
    outcome = comm.bcast(outcome)
    if isinstance(outcome, CaseError):
        raise outcome
    assert outcome is not None
    return outcome


def _report(summary: dict[str, Any], folder: Path) -> None:
    """Say on the terminal how the run ended."""
    if summary["reason"]:
        print(f"stopped: {summary['reason']}", file=sys.stderr)
    steps = ", ".join(f"{count} {name}" for name, count in summary["steps"].items())
    seconds = summary["wall_time"]["total"]
    print(f"t = {summary['time']:g} after {seconds:.1f} s ({steps} steps): {folder}")
