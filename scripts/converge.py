"""``meanformer converge CASE --over KEY=VALUES``: the order at which a case converges."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

from meanformer.mpi import MPI

from meanformer.scripts.command_line import add_case, check_files, refusal

STOPPED = 3


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "converge",
        help="run a case at several values of a key, and fit the order of its errors",
        description="Run a case at several values of one key, alone or under mpirun, and compare "
        "the ends of the runs with the exact solution, or with the finest run where none is "
        "known. Nothing is written but the files asked for.",
        epilog="Exit codes: 0 done; 2 the case or the command line is wrong, nothing is written; "
        "3 a run stopped itself, or a mesh does not resolve the start: the order is that of the "
        "other runs.",
    )
    add_case(parser)
    parser.add_argument(
        "--over",
        required=True,
        action="append",
        metavar="TABLE.KEY=VALUE,...",
        help="any key of the case, and at least two values of it: pde.refinement=2,3,4,5",
    )
    parser.add_argument(
        "--quantity",
        metavar="Q",
        help="l2 (the L2 norm of the density's error; the default where the exact solution is "
        "known), moments (mean and covariance; the default elsewhere), or a column of the tables: "
        "pde.energy, particles.mean_1, compare.w1, or just energy",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw error against mesh size (PNG, PDF, SVG)"
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code. Collective over all ranks."""
    from meanformer.scripts import converge_report
    from meanformer.simulation import converge
    from meanformer.simulation.output.folder import on_root

    comm = MPI.COMM_WORLD
    on_root(comm, lambda: check_files(csv=options.csv, plot=options.plot))
    if len(options.over) > 1:
        raise refusal("--over: given more than once; a study is over one key")
    key, values = _over(options.over[0])
    study = converge(
        options.case, key, values, options.quantity, comm, overrides=options.set, progress=True
    )
    if comm.rank == 0:
        converge_report.print_table(study)
        if options.csv:
            converge_report.write_csv(study, options.csv)
        if options.plot:
            converge_report.draw(study).savefig(options.plot, dpi=150)
    return 0 if study.done else STOPPED


def _over(text: str) -> tuple[str, list[str]]:
    """The key and the values of ``--over``.

    A value is the shortest that is TOML, so that lists hold together, or else what is before the
    next comma: ``time.step=auto,0.1``, ``initial.a=[0.3,0.4],[0.6,0.0]``.
    """
    key, equals, rest = text.partition("=")
    if not equals:
        raise refusal(f"--over {text!r}: no '='; must be table.key=value,value,...")
    pieces, values = rest.split(","), []
    while pieces:
        starts = [",".join(pieces[: count + 1]) for count in range(len(pieces))]
        value = next(filter(_is_toml, starts), pieces[0])
        values.append(value.strip())
        pieces = pieces[value.count(",") + 1 :]
    return key.strip(), values


def _is_toml(text: str) -> bool:
    try:
        return len(tomllib.loads(f"value = {text}")) == 1
    except (ValueError, RecursionError):
        return False
