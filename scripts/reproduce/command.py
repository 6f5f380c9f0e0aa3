"""The verb ``meanformer reproduce NAME``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from meanformer.mpi import MPI

from rich.markup import escape
from rich.table import Table

from meanformer.scripts.command_line import refusal, why_no_pictures, wide_console
from meanformer.scripts.reproduce.figure import Figure
from meanformer.scripts.reproduce.figures import DIAGRAMS, FIGURES
from meanformer.scripts.reproduce.recording import Recorder
from meanformer.scripts.reproduce.sheets import save_movie, save_picture
from meanformer.scripts.solve import EXIT_CODES
from meanformer.simulation.case.errors import suggestion
from meanformer.simulation.output.folder import CASE_FILE, on_root
from meanformer.theory import Deviation

#: The file of a figure's data, beside NAME.png and NAME.gif.
DATA_FILE = "tokens.npz"
_WIDTH = 120
_NAMES = (*FIGURES, *DIAGRAMS)


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "reproduce",
        help="reproduce a figure of a paper, and check what the theorem says",
        description="Run the tokens of a figure of arXiv 2305.05465 or 2407.01602, alone or under "
        "mpirun, draw a picture and a movie, and measure what the theorem says of late times; or "
        "the ensembles of a diagram of arXiv 2312.10794 or 2601.21942, which is a picture.",
        epilog="Exit codes: 0 done, and what the theorem says holds; 2 the command line is wrong, "
        "nothing is written; 3 it does not hold, or the run stopped itself; 4 a signal stopped it.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help=", ".join(_NAMES))
    parser.add_argument("--list", action="store_true", help="say what figures there are")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the run (default: figures/NAME)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of the tokens and of random matrices, instead of the figure's",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code. Collective over all ranks."""
    comm = MPI.COMM_WORLD
    if options.list:
        if comm.rank == 0:
            _print_list()
        return 0
    _check(options)
    if options.name in DIAGRAMS:
        return _execute_diagram(options)
    figure = FIGURES[options.name]
    case = figure.case(options.name, figure.seed if options.seed is None else options.seed)
    folder = options.output or Path(case.output.directory)
    from meanformer.simulation import run  # solvers are slow to import: mistakes are told first

    recorder = Recorder(figure.has_matrix)
    result = run(case, output=folder, comm=comm, progress=True, observers=[recorder])
    if result.status != "done":
        if comm.rank == 0:
            print(f"{result.status}: {result.summary['reason']}", file=sys.stderr)
        return EXIT_CODES[result.status]
    finish = partial(_finish, options.name, figure, recorder, folder)
    return 0 if comm.bcast(on_root(comm, finish)) else EXIT_CODES["stopped"]


def _execute_diagram(options: argparse.Namespace) -> int:
    """Run all that a diagram is made of; return the exit code. Collective over all ranks."""
    from meanformer.scripts.reproduce.diagrams.reproducing import DATA_FILE, reproduce
    from meanformer.simulation.controller import RunStopped

    name, comm, diagram = options.name, MPI.COMM_WORLD, DIAGRAMS[options.name]
    cases = diagram.cases(name, diagram.seed if options.seed is None else options.seed)
    folder = options.output or Path(cases[0].output.directory)
    try:
        checks = reproduce(name, diagram, cases, folder, comm)
    except RunStopped as stop:  # on every rank
        if comm.rank == 0:
            print(stop, file=sys.stderr)
        return EXIT_CODES["stopped"]
    if comm.rank == 0:
        _print_checks(diagram.claim, checks)
        print(f"{folder}: {name}.png, {DATA_FILE}, {CASE_FILE} of the first run")
    return 0 if all(check.agrees for check in checks) else EXIT_CODES["stopped"]


def _check(options: argparse.Namespace) -> None:
    """Check the command line.

    Raises:
        CaseError: If it is wrong.
    """
    name, allowed = options.name, ", ".join(_NAMES)
    if name is None:
        raise refusal(f"NAME: missing; allowed: {allowed}")
    if name not in _NAMES:
        near = suggestion(name, _NAMES)
        raise refusal(f"NAME: unknown name {name!r}; allowed: {allowed}{near}")
    if options.seed is not None and options.seed < 0:
        raise refusal(f"--seed: {options.seed}; must be a whole number of at least 0")
    if problem := why_no_pictures():
        raise refusal(f"reproduce: {problem}")


def _finish(name: str, figure: Figure, recorder: Recorder, folder: Path) -> bool:
    """Write data, picture and movie, and tell whether all that was measured holds.

    Raises:
        OSError: If a file cannot be written.
    """
    recording = recorder.recording()
    recording.save(folder / DATA_FILE)
    save_picture(figure, recording, folder / f"{name}.png")
    save_movie(figure, recording, folder / f"{name}.gif")
    checks = figure.checks(recording)
    _print_checks(figure.claim, checks)
    print(f"{folder}: {name}.png, {name}.gif, {DATA_FILE}, {CASE_FILE}")
    return all(check.agrees for check in checks)


def _print_list() -> None:
    """Say what figures there are."""
    width = max(map(len, _NAMES))
    for name, each in (FIGURES | DIAGRAMS).items():
        print(f"{name:{width}}  {each.title}")


def _print_checks(claim: str, checks: Iterable[Deviation]) -> None:
    """Say what the theorem says, and what was measured of it."""
    console = wide_console(_WIDTH)
    console.print(claim, soft_wrap=True, markup=False)
    table = Table(box=None, header_style="", padding=(0, 2, 0, 0))
    for name in ("", "measured", "at most", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for check in checks:
        numbers = f"{check.number:.3g}", f"{check.bound:.3g}"
        table.add_row(escape(check.measured), *numbers, "holds" if check.agrees else "FAILS")
    console.print(table)
