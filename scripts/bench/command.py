"""The verb ``meanformer bench NAME``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from meanformer.mpi import MPI

from rich.console import Console

from meanformer.scripts.bench.report import Report
from meanformer.scripts.command_line import check_files, refusal
from meanformer.simulation.case.errors import suggestion

#: Options of each benchmark, besides those of all.
OPTIONS = {
    "attention": ("methods", "sizes", "budget"),
    "particles": ("methods", "sizes", "budget"),
    "pde": ("levels", "sizes"),
}
_AGAINST_PEERS = ("attention", "particles")
_BUDGET = 20.0


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "bench",
        help="measure speed and error, also against peers",
        description="attention: measure our velocity against peers that are installed, pykeops, "
        "torch, and a loop of numpy, on all cores that this process may use. particles: measure a "
        "step of tokens against them, of one large system and of many small ones. pde: measure "
        "what a step of the density solver costs, what its parts do, how it grows, and what "
        "accuracy costs. Every measurement runs in a process of its own.",
        epilog="Exit codes: 0 done; 2 the command line is wrong. Peers that are missing are named "
        "in the table. Leave the machine alone while it runs.",
    )
    add = parser.add_argument
    add("name", metavar="NAME", help=" or ".join(OPTIONS))
    add("--json", type=Path, metavar="FILE", help="write all that was measured")
    add("--plot", type=Path, metavar="FILE", help="draw what was measured (PNG, PDF, SVG)")
    add(
        "--problems",
        metavar="NAME,...",
        help="attention: sphere, plane, space, direct, wide, memory, ranks; particles: sphere, "
        "wide, systems, memory, ranks; pde: stage, noise, growth, circle; all of them by default",
    )
    add(
        "--sizes",
        metavar="N,...",
        help="numbers of points or tokens, in place of every problem's own; of pde, those of the "
        "peer on the circle",
    )
    add(
        "--methods",
        metavar="NAME,...",
        help="attention, particles: pykeops, torch, numpy besides ours; by default all",
    )
    add(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="attention, particles: longest evaluation or step to be measured; longer ones are "
        f"extrapolated (default: {_BUDGET:g})",
    )
    add(
        "--levels",
        metavar="L,...",
        help="pde: levels of the icosphere, 20 * 4^L cells, in place of every problem's own",
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code.

    Raises:
        CaseError: If the command line is wrong; nothing was measured.
    """
    measure = _checked(options)
    check_files(json=options.json, plot=options.plot)
    with Console(stderr=True).status("") as status:
        report = measure(status.update)
    report.print_table()
    if options.json:
        text = json.dumps(report.as_dict(), indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.plot:
        report.save_picture(options.plot)
    return 0


def _checked(options: argparse.Namespace) -> Callable[[Callable[[str], None]], Report]:
    """The benchmark asked for, which is told whom to tell what it does."""
    if MPI.COMM_WORLD.size > 1:
        raise refusal("meanformer bench starts its own ranks; run it without mpirun")
    _names("NAME", options.name, OPTIONS)
    for name in {option for names in OPTIONS.values() for option in names}:
        if getattr(options, name) is not None and name not in OPTIONS[options.name]:
            raise refusal(f"--{name}: not an option of meanformer bench {options.name}")
    sizes = _numbers("--sizes", options.sizes, "whole numbers of points", 2, 10**9)
    if options.name in _AGAINST_PEERS:
        room = f"{__package__}.{options.name}"
        benchmark, problems, methods = (
            import_module(f"{room}.{name}") for name in ("benchmark", "problems", "methods")
        )
        budget = _BUDGET if options.budget is None else options.budget
        if not budget > 0:
            raise refusal(f"--budget is {budget:g}; it must be positive")
        groups = _names("--problems", options.problems, problems.GROUPS)
        peers = _names("--methods", options.methods, methods.METHODS)
        return partial(benchmark.run, groups, peers, sizes, budget)

    from meanformer.scripts.bench.pde import benchmark as pde
    from meanformer.simulation.requirements import why_no_dolfinx

    groups = _names("--problems", options.problems, pde.GROUPS)
    levels = _numbers("--levels", options.levels, "whole numbers", 0, 8)
    if problem := why_no_dolfinx():
        raise refusal(f"bench pde: {problem}")
    return partial(pde.run, groups, levels, sizes)


def _names(option: str, given: str | None, allowed: Iterable[str]) -> list[str]:
    """The names in a list with commas, all of those allowed if there is none."""
    allowed = list(allowed)
    names = allowed if given is None else [name.strip() for name in given.split(",")]
    for name in names:
        if name not in allowed:
            near = suggestion(name, allowed)
            raise refusal(f"{option}: unknown name {name!r}; allowed: {', '.join(allowed)}{near}")
    return names


def _numbers(option: str, given: str | None, what: str, least: int, most: int) -> list[int]:
    """Whole numbers in a list with commas (1e4 is one), ascending, each once; none by default."""
    numbers = set()
    for word in () if given is None else given.split(","):
        try:
            number = float(word)
        except ValueError:
            number = -1.0
        if not (number.is_integer() and least <= number <= most):
            raise refusal(f"{option}: {word!r}; allowed: {what} from {least} to {most:g}")
        numbers.add(int(number))
    return sorted(numbers)
