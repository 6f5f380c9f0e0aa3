"""``meanformer bench NAME``: measured ratios against peers."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mpi4py import MPI

from rich.console import Console

WRONG = 2
NAMES = ("attention",)


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "bench",
        help="measure speed and error against peers",
        description="Measure our velocity against peers that are installed: pykeops, torch, and a "
        "loop of numpy. Every measurement runs in a process of its own, on all cores that this "
        "one may use.",
        epilog="Exit codes: 0 done; 2 the command line is wrong. Peers that are missing are named "
        "in the table. Leave the machine alone while it runs.",
    )
    parser.add_argument("name", metavar="NAME", type=_one_of("benchmark", NAMES), help="attention")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw time against size (PNG, PDF, SVG)"
    )
    parser.add_argument(
        "--problems",
        metavar="NAME,...",
        help="sphere, plane, space, direct, wide, memory, ranks; all of them by default",
    )
    parser.add_argument(
        "--methods", metavar="NAME,...", help="pykeops, torch, numpy besides ours; by default all"
    )
    parser.add_argument(
        "--sizes", metavar="N,...", help="numbers of points, in place of every problem's own"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="longest evaluation to be measured; longer ones are extrapolated (default: 20)",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    from meanformer.scripts import bench_attention, bench_report
    from meanformer.scripts.bench_methods import METHODS
    from meanformer.scripts.bench_problems import GROUPS

    try:
        if MPI.COMM_WORLD.size > 1:
            raise ValueError("meanformer bench starts its own ranks; run it without mpirun")
        groups = _names("--problems", options.problems, GROUPS)
        methods = _names("--methods", options.methods, tuple(METHODS))
        sizes = _sizes(options.sizes)
        if not options.budget > 0:
            raise ValueError(f"--budget is {options.budget:g}; it must be positive")
        for name, file in (("--json", options.json), ("--plot", options.plot)):
            if file and (file.is_dir() or not file.resolve().parent.is_dir()):
                raise ValueError(f"{name}: {file} is not a file in a folder that exists")
        if options.plot:
            _check_plot(options.plot)
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG

    with Console(stderr=True).status("") as status:
        report = bench_attention.run(
            groups, methods, sizes, options.budget, lambda message: status.update(message)
        )
    bench_report.print_table(report)
    if options.json:
        text = json.dumps(report.as_dict(), indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.plot:
        bench_report.save_picture(report, options.plot)
    return 0


def _one_of(what: str, allowed: tuple[str, ...]) -> Any:
    """A type for argparse: one of some names."""

    def check(name: str) -> str:
        if name not in allowed:
            raise argparse.ArgumentTypeError(f"unknown {what} {name!r}; {_suggest(name, allowed)}")
        return name

    return check


def _names(option: str, given: str | None, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The names in a list with commas, all of those allowed if there is none."""
    if given is None:
        return allowed
    names = tuple(name.strip() for name in given.split(","))
    for name in names:
        if name not in allowed:
            raise ValueError(f"{option}: unknown name {name!r}; {_suggest(name, allowed)}")
    return names


def _suggest(name: str, allowed: tuple[str, ...]) -> str:
    """What is allowed, and the nearest of it."""
    near = difflib.get_close_matches(name, allowed, 1) or (allowed if len(allowed) == 1 else [])
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"allowed: {', '.join(allowed)}{hint}"


def _sizes(given: str | None) -> tuple[int, ...]:
    """Positive whole numbers in a list with commas; 1e4 is one."""
    if given is None:
        return ()
    sizes = []
    for word in given.split(","):
        try:
            number = float(word)
        except ValueError:
            number = 0.0
        if not (number >= 2 and number.is_integer() and number <= 1e9):
            raise ValueError(f"--sizes: {word!r}; allowed: whole numbers of points from 2 to 1e9")
        sizes.append(int(number))
    return tuple(sorted(set(sizes)))


def _check_plot(file: Path) -> None:
    """Whether a picture can be drawn, before hours of work."""
    if find_spec("matplotlib") is None:
        raise ValueError(
            'matplotlib is not installed; --plot needs it: pip install "meanformer[docs]"'
        )
    from matplotlib.figure import Figure

    allowed = sorted(Figure().canvas.get_supported_filetypes())
    if file.suffix[1:].lower() not in allowed:
        raise ValueError(
            f"--plot: {file} has no ending of a picture; allowed: {', '.join(allowed)}"
        )
