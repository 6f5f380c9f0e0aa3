"""``meanformer bench NAME``: what was measured, in one table."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from meanformer.mpi import MPI

from rich.console import Console

WRONG = 2
#: Options of each benchmark, besides those of all.
OPTIONS = {"attention": ("methods", "sizes", "budget"), "pde": ("levels", "sizes")}
_BUDGET = 20.0


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "bench",
        help="measure speed and error, also against peers",
        description="attention: measure our velocity against peers that are installed, pykeops, "
        "torch, and a loop of numpy, on all cores that this process may use. pde: measure what a "
        "step of the density solver costs, what its parts do, how it grows, and what accuracy "
        "costs. Every measurement runs in a process of its own.",
        epilog="Exit codes: 0 done; 2 the command line is wrong. Peers that are missing are named "
        "in the table. Leave the machine alone while it runs.",
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        type=_one_of("benchmark", tuple(OPTIONS)),
        help=" or ".join(OPTIONS),
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw what was measured (PNG, PDF, SVG)"
    )
    parser.add_argument(
        "--problems",
        metavar="NAME,...",
        help="attention: sphere, plane, space, direct, wide, memory, ranks; pde: stage, noise, "
        "growth, circle; all of them by default",
    )
    parser.add_argument(
        "--sizes",
        metavar="N,...",
        help="numbers of points, in place of every problem's own; of pde, those of the peer on "
        "the circle",
    )
    parser.add_argument(
        "--methods",
        metavar="NAME,...",
        help="attention: pykeops, torch, numpy besides ours; by default all",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="attention: longest evaluation to be measured; longer ones are extrapolated "
        f"(default: {_BUDGET:g})",
    )
    parser.add_argument(
        "--levels",
        metavar="L,...",
        help="pde: levels of the icosphere, 20 * 4^L cells, in place of every problem's own",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    try:
        if MPI.COMM_WORLD.size > 1:
            raise ValueError("meanformer bench starts its own ranks; run it without mpirun")
        for name in {option for names in OPTIONS.values() for option in names}:
            if getattr(options, name) is not None and name not in OPTIONS[options.name]:
                raise ValueError(f"--{name}: not an option of meanformer bench {options.name}")
        measured = _attention(options) if options.name == "attention" else _pde(options)
        for name, file in (("--json", options.json), ("--plot", options.plot)):
            if file and (file.is_dir() or not file.resolve().parent.is_dir()):
                raise ValueError(f"{name}: {file} is not a file in a folder that exists")
        if options.plot:
            _check_plot(options.plot)
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG

    with Console(stderr=True).status("") as status:
        found = measured(lambda message: status.update(message))
    found.print_table()
    if options.json:
        text = json.dumps(found.as_dict, indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.plot:
        found.save_picture(options.plot)
    return 0


class _Found(NamedTuple):
    """What a benchmark found: a table, a picture, and all of it for JSON."""

    print_table: Callable[[], None]
    save_picture: Callable[[Path], None]
    as_dict: dict[str, Any]


_Measured = Callable[[Callable[[str], None]], _Found]


def _attention(options: argparse.Namespace) -> _Measured:
    """The benchmark of attention, its options checked; raises ValueError if they are wrong."""
    from meanformer.scripts import bench_attention, bench_attention_report
    from meanformer.scripts.bench_methods import METHODS
    from meanformer.scripts.bench_problems import GROUPS

    groups = _names("--problems", options.problems, GROUPS)
    methods = _names("--methods", options.methods, tuple(METHODS))
    sizes = _sizes(options.sizes)
    budget = _BUDGET if options.budget is None else options.budget
    if not budget > 0:
        raise ValueError(f"--budget is {budget:g}; it must be positive")

    def measured(say: Callable[[str], None]) -> _Found:
        report = bench_attention.run(groups, methods, sizes, budget, say)
        return _Found(
            partial(bench_attention_report.print_table, report),
            partial(bench_attention_report.save_picture, report),
            report.as_dict(),
        )

    return measured


def _pde(options: argparse.Namespace) -> _Measured:
    """The benchmark of the density solver, its options checked, likewise."""
    from meanformer.scripts import bench_pde, bench_pde_report
    from meanformer.simulation.requirements import why_no_dolfinx

    groups = _names("--problems", options.problems, bench_pde.GROUPS)
    levels = _levels(options.levels)
    sizes = _sizes(options.sizes)
    problem = why_no_dolfinx()
    if problem:
        raise ValueError(f"bench pde: {problem}")

    def measured(say: Callable[[str], None]) -> _Found:
        report = bench_pde.run(groups, levels, sizes, say)
        return _Found(
            partial(bench_pde_report.print_table, report),
            partial(bench_pde_report.save_picture, report),
            report.as_dict(),
        )

    return measured


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
    """Numbers of points in a list with commas; 1e4 is one."""
    return _numbers("--sizes", given, "whole numbers of points from 2 to 1e9", 2, 10**9)


def _levels(given: str | None) -> tuple[int, ...]:
    """Levels of the icosphere in a list with commas."""
    return _numbers("--levels", given, "whole numbers from 0 to 8", 0, 8)


def _numbers(
    option: str, given: str | None, allowed: str, least: int, most: int
) -> tuple[int, ...]:
    """Whole numbers in a list with commas, ascending, each once."""
    if given is None:
        return ()
    numbers = []
    for word in given.split(","):
        try:
            number = float(word)
        except ValueError:
            number = -1.0
        if not (number.is_integer() and least <= number <= most):
            raise ValueError(f"{option}: {word!r}; allowed: {allowed}")
        numbers.append(int(number))
    return tuple(sorted(set(numbers)))


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
