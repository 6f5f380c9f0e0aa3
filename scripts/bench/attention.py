"""``meanformer bench attention``: our velocity against peers, in time, error and growth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from meanformer.scripts.bench import machine, process
from meanformer.scripts.bench.methods import METHODS
from meanformer.scripts.bench.problems import PROBLEMS, SAMPLE, Problem
from meanformer.scripts.bench.report import (
    Column,
    Curve,
    Report,
    Row,
    draw_curves,
    number,
    whole,
)
from meanformer.scripts.bench.timing import exponents, fit_growth, growth_text

#: Operations of one exponential in double precision: rounding to a whole power of two and the
#: remainder (2), a polynomial of degree 10 (20), and the power (1).
EXP_FLOPS = 23
OURS = next(iter(METHODS))

_COLOURS = {OURS: "#0b6e6e", "pykeops": "#c1440e", "torch": "#7b4fa3", "numpy": "#767676"}
_FOOTNOTES = {
    "problem": "N points and N other targets; seconds: the best of several evaluations, none "
    "compiles.",
    "extrapolated": "~ not measured: one evaluation would take over {budget:g} s; by the method's "
    "own law of growth, fitted to the sizes measured.",
    "error": f"error: of the velocity at {SAMPLE} targets against sums in extended precision, "
    "relative to the largest velocity before projection.",
    "growth": "growth: exponent of the time, least squares over the sizes measured (of ours: with "
    "the same backend as the largest); in brackets between the two largest.",
}


def flops_per_pair(dimension: int) -> int:
    """The least operations of one pair: logit, shift, exponential, Z and moment."""
    return 2 * dimension + 1 + EXP_FLOPS + 2 * (1 + dimension)


@dataclass(frozen=True, kw_only=True)
class _Row(Row):
    """A method at one size."""

    method: str
    form: str = ""
    extrapolated: bool = False
    pair_ns: float | None = None
    peak_fraction: float | None = None


def run(
    groups: Sequence[str],
    methods: Sequence[str],
    sizes: Sequence[int],
    budget: float,
    say: Callable[[str], None],
) -> Report:
    """Measure.

    Args:
        groups: Which problems; see ``problems.GROUPS``.
        methods: Which methods, besides ours.
        sizes: Values of N in place of the problems' own; empty for these.
        budget: Seconds that one evaluation may take; beyond, times are extrapolated.
        say: Told what is being done.
    """
    found = {name: _version(name) for name in METHODS if name == OURS or name in methods}
    facts = machine.describe()
    say("peak of the vector units")
    facts["peak_flops"] = machine.peak_flops()
    rows: list[_Row] = []
    for title, problem in PROBLEMS.items():
        if problem.group not in groups:
            continue
        here: list[_Row] = []
        for name in (name for name in problem.methods if name in found):
            say(f"{title}: {name}")
            wanted = list(sizes or problem.sizes)
            if "missing" in found[name]:
                note = _missing(found[name])
                here += [_Row(problem=title, size=n, method=name, note=note) for n in wanted]
            elif problem.task == "on_ranks":
                here += _ranks(title, wanted, budget)
            else:
                here += _method_rows(title, name, wanted, budget)
        rows += _compared(problem, here, facts)
    return _report(facts, found, budget, rows)


def _version(name: str) -> dict[str, str]:
    """The method's version, or why it is missing and how to install it."""
    results, problem = _work("version", name)
    answer: dict[str, str] = results[0] if results else {"missing": problem}
    return answer | ({"how": METHODS[name].how} if "missing" in answer else {})


def _missing(method: dict[str, str]) -> str:
    return f"{method['missing']}; {method['how']}"


def _method_rows(
    title: str, name: str, sizes: list[int], budget: float, ranks: int | None = None
) -> Iterator[_Row]:
    """One method's rows of one problem, extrapolated where they took too long to measure.

    Sizes that were measured for the law of growth alone are among them.
    """
    task, adapts = PROBLEMS[title].task, METHODS[name].adapts
    given = {"problem": title, "sizes": sizes, "budget": budget}
    found, problem = _work(task, name, given, 5 * budget * (len(sizes) + 1), ranks)
    results = {result["size"]: result for result in found}
    times = {size: result["seconds"] for size, result in results.items()}
    growth: dict[str, Any] = {}
    if task == "speed" and results:
        # A change of backend is no growth.
        last = results[max(results)]["form"]
        alike = (size for size in times if results[size]["form"] == last or not adapts)
        growth = exponents({size: times[size] for size in alike})
    for size in sorted({*sizes, *results}):
        row = _Row(problem=title, size=size, method=name, **growth)
        if size in results:
            yield replace(row, **results[size])
        elif problem or not times or adapts:
            yield replace(row, note=problem)
        else:
            yield replace(row, seconds=fit_growth(times)(size), extrapolated=True)


def _ranks(title: str, sizes: list[int], budget: float) -> Iterator[_Row]:
    """Our velocity on one rank and on two, each with a core of its own."""
    if missing := process.why_not_on(2):
        yield from (_Row(problem=title, size=n, method=OURS, note=missing) for n in sizes)
        return
    alone, both = (list(_method_rows(title, OURS, sizes, budget, count)) for count in (1, 2))
    yield from (replace(row, form="1 rank, a core each") for row in alone)
    for one, two in zip(alone, both, strict=True):
        row = replace(two, form="2 ranks, a core each")
        if one.seconds and two.seconds:
            speedup = one.seconds / two.seconds
            row = replace(row, speedup=speedup, note=f"speed-up {speedup:.2f}")
        yield row


def _work(
    task: str,
    name: str,
    given: dict[str, Any] | None = None,
    seconds: float = 0.0,
    ranks: int | None = None,
) -> tuple[list[dict[str, Any]], str]:
    """Do a task of a method in a process of its own."""
    return process.measure(
        f"meanformer.scripts.bench.velocity:{task}",
        {"method": name, **(given or {})},
        environment=METHODS[name].environment,
        ranks=ranks,
        seconds=seconds,
    )


def _compared(problem: Problem, rows: list[_Row], facts: dict[str, Any]) -> Iterator[_Row]:
    """Add to a problem's rows the ratio to ours, and for direct sums the fraction of the peak."""
    ours = {row.size: row.seconds for row in rows if row.method == OURS}
    for row in rows:
        seconds, basis = row.seconds, ours.get(row.size)
        if seconds and basis and row.method != OURS:
            row = replace(row, ratio=seconds / basis)
        if seconds and problem.backend == "direct":
            pair = seconds / row.size**2
            nanoseconds = pair * facts["cores"] * 1e9
            fraction = flops_per_pair(problem.space.dimension) / pair / facts["peak_flops"]
            note = f"{nanoseconds:.2f} ns a pair and core, {fraction:.0%} of the peak"
            row = replace(row, pair_ns=nanoseconds, peak_fraction=fraction, note=note)
        yield row


def _report(
    facts: dict[str, Any], methods: dict[str, dict[str, str]], budget: float, rows: list[_Row]
) -> Report:
    """The rows with what the table and the JSON file say about them."""
    titles = {row.problem: [each for each in rows if each.problem == row.problem] for row in rows}
    tolerances = {title: PROBLEMS[title].tolerance for title in titles}
    return Report(
        "attention",
        facts,
        rows,
        columns=(
            Column("problem", lambda row: f"{row.problem}, to {tolerances[row.problem]:.0e}"),
            Column("N", lambda row: whole(row.size), right=True),
            Column("method", lambda row: row.method),
            Column("seconds", lambda row: _guess(row, row.seconds, "-"), right=True),
            Column("x ours", lambda row: _guess(row, row.ratio), right=True),
            Column("error", lambda row: number(row.error, ".0e"), right=True),
            Column("growth", lambda row: growth_text(row.growth, row.growth_last)),
            Column("", lambda row: "; ".join(filter(None, (row.form, row.note))), wraps=True),
        ),
        bold=lambda row: row.method == OURS,
        about=[
            f"measured peak: {facts['peak_flops'] / 1e9:.0f} GFlop/s (double precision, all cores)",
            "every method uses all cores",
            *(
                f"{name}: {_missing(method) if 'missing' in method else method['version']}"
                for name, method in methods.items()
                if "missing" in method or name != OURS
            ),
        ],
        footnotes={key: text.format(budget=budget) for key, text in _FOOTNOTES.items()},
        panels=[
            partial(_draw, title=title, rows=here)
            for title, here in titles.items()
            if PROBLEMS[title].task == "speed"
            and len({row.size for row in here if row.seconds}) > 1
        ],
        shared=True,
        facts={
            "methods": methods,
            "budget": budget,
            "problems": {title: _description(PROBLEMS[title]) for title in titles},
        },
    )


def _guess(row: _Row, value: float | None, otherwise: str = "") -> str:
    """A number, marked if it is extrapolated."""
    mark = "~" if row.extrapolated and value is not None else ""
    return mark + number(value, ".3g", otherwise)


def _description(problem: Problem) -> dict[str, Any]:
    """A problem, for JSON."""
    matrix: Any = problem.logit_matrix.tolist()
    if len(matrix) > 3:
        matrix = f"{matrix[0][0]} times the identity"
    return {
        "group": problem.group,
        "space": type(problem.space).__name__.lower(),
        "dimension": problem.space.dimension,
        "law": problem.attention.law,
        "logit_matrix": matrix,
        "tolerance": problem.tolerance,
    }


def _draw(panel: Any, title: str, rows: list[_Row]) -> None:
    """Time against N, a curve a method; guides of slope 1 and 2 start at our first point."""
    curves, guides = [], []
    for method, colour in _COLOURS.items():
        here = [row for row in rows if row.method == method]
        known, guesses = (
            [(row.size, row.seconds) for row in here if row.seconds and row.extrapolated is guessed]
            for guessed in (False, True)
        )
        curves.append(Curve(method, colour, known, 2.4 if method == OURS else 1.4))
        curves.append(Curve(method, colour, guesses and [*known[-1:], *guesses], dashed=True))
        if method == OURS and known:
            end = max(row.size for row in rows)
            guides = [(known[0], end, slope) for slope in (1, 2)]
    draw_curves(panel, title, ("points N (and N targets)", "seconds"), curves, guides)
