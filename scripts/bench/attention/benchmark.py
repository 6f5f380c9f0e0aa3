"""``meanformer bench attention``: our velocity against peers, in time, error and growth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from meanformer.scripts.bench import machine, process, report
from meanformer.scripts.bench.attention.methods import METHODS
from meanformer.scripts.bench.attention.problems import PROBLEMS, SAMPLE, Problem

#: Operations of one exponential in double precision: rounding to a whole power of two and the
#: remainder (2), a polynomial of degree 10 (20), and the power (1).
EXP_FLOPS = 23
OURS = next(iter(METHODS))

_TASKS = "meanformer.scripts.bench.attention.velocity"

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


@dataclass(kw_only=True)
class _Row(report.Row):
    """A method at one size."""

    method: str
    form: str = ""
    extrapolated: bool = False
    pair_ns: float | None = None
    peak_fraction: float | None = None

    @property
    def bold(self) -> bool:
        return self.method == OURS

    def cells(self) -> dict[str, str]:
        mark = "~" if self.extrapolated else ""
        return {
            "problem": f"{self.problem}, to {PROBLEMS[self.problem].tolerance:.0e}",
            "N": report.whole(self.size),
            "method": self.method,
            "seconds": mark + report.number(self.seconds, ".3g", "-"),
            "x ours": mark + report.number(self.ratio, ".3g") if self.ratio else "",
            "error": report.number(self.error, ".0e"),
            "growth": self.growth_text,
            "": "; ".join(filter(None, (self.form, self.note))),
        }


def run(
    groups: Sequence[str],
    methods: Sequence[str],
    sizes: Sequence[int],
    budget: float,
    say: Callable[[str], None],
) -> report.Report:
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
    measured: dict[str, list[_Row]] = {}
    for title, problem in PROBLEMS.items():
        if problem.group not in groups:
            continue
        rows = measured[title] = []
        for name in (name for name in problem.methods if name in found):
            say(f"{title}: {name}")
            wanted = list(sizes or problem.sizes)
            if "missing" in found[name]:
                rows += _unknown(title, name, wanted, _missing(found[name]))
            elif problem.task == "on_ranks":
                rows += _on_ranks(title, wanted, budget)
            else:
                rows += _measured(title, name, wanted, budget)
        _compare(problem, rows, facts)
    return report.Report(
        "attention",
        facts,
        [row for rows in measured.values() for row in rows],
        about=[
            f"measured peak: {facts['peak_flops'] / 1e9:.0f} GFlop/s (double precision, all cores)",
            "every method uses all cores",
            *(
                f"{name}: {_missing(method) if 'missing' in method else method['version']}"
                for name, method in found.items()
                if "missing" in method or name != OURS
            ),
        ],
        footnotes={key: text.format(budget=budget) for key, text in _FOOTNOTES.items()},
        panels=[
            partial(_draw, title=title, rows=rows)
            for title, rows in measured.items()
            if PROBLEMS[title].task == "speed"
            and len({row.size for row in rows if row.seconds}) > 1
        ],
        shared=True,
        facts={
            "methods": found,
            "budget": budget,
            "problems": {title: _description(PROBLEMS[title]) for title in measured},
        },
    )


def _version(name: str) -> dict[str, str]:
    """The method's version, or why it is missing and how to install it."""
    given = {"method": name}
    environment = METHODS[name].environment
    results, failure = process.measure(f"{_TASKS}:version", given, environment=environment)
    answer = results[0] if results else {"missing": failure}
    return answer | ({"how": METHODS[name].how} if "missing" in answer else {})


def _missing(method: dict[str, str]) -> str:
    return f"{method['missing']}; {method['how']}"


def _unknown(title: str, name: str, sizes: Sequence[int], why: str) -> list[_Row]:
    return [_Row(problem=title, size=size, method=name, note=why) for size in sizes]


def _measured(
    title: str, name: str, sizes: list[int], budget: float, ranks: int | None = None
) -> list[_Row]:
    """One method's rows of one problem; more sizes are among them that its law was fitted to."""
    task, method = PROBLEMS[title].task, METHODS[name]
    results, failure = process.measure(
        f"{_TASKS}:{task}",
        {"method": name, "problem": title, "sizes": sizes, "budget": budget},
        environment=method.environment,
        ranks=ranks,
        seconds=5 * budget * (len(sizes) + 1),
    )
    rows = [_Row(problem=title, method=name, **result) for result in results]
    done = {row.size for row in rows}
    rows += _unknown(title, name, [size for size in sizes if size not in done], failure)
    if task == "speed":
        known = [row for row in rows if row.seconds and not row.extrapolated]
        if method.adapts:  # a change of backend is no growth
            known = [row for row in known if row.form == known[-1].form]
        report.add_growth(rows, known)
    return rows


def _on_ranks(title: str, sizes: list[int], budget: float) -> list[_Row]:
    """Our velocity on one rank and on two, each with a core of its own."""
    if missing := process.why_not_on(2):
        return _unknown(title, OURS, sizes, missing)
    alone, both = (_measured(title, OURS, sizes, budget, count) for count in (1, 2))
    for one, two in zip(alone, both, strict=True):
        one.form, two.form = "1 rank, a core each", "2 ranks, a core each"
        two.compare_with_one_rank(one)
    return alone + both


def _compare(problem: Problem, rows: list[_Row], facts: dict[str, Any]) -> None:
    """Add to a problem's rows the ratio to ours, and for direct sums the fraction of the peak."""
    ours = {row.size: row.seconds for row in rows if row.method == OURS}
    for row in rows:
        if not row.seconds:
            continue
        basis = ours.get(row.size)
        if basis and row.method != OURS:
            row.ratio = row.seconds / basis
        if problem.backend == "direct":
            pair = row.seconds / row.size**2
            flops = flops_per_pair(problem.space.dimension)
            row.pair_ns = pair * facts["cores"] * 1e9
            row.peak_fraction = flops / pair / facts["peak_flops"]
            row.note = f"{row.pair_ns:.2f} ns a pair and core, {row.peak_fraction:.0%} of the peak"


def flops_per_pair(dimension: int) -> int:
    """The least operations of one pair: logit, shift, exponential, Z and moment."""
    return 2 * dimension + 1 + EXP_FLOPS + 2 * (1 + dimension)


def _description(problem: Problem) -> dict[str, Any]:
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
    for method, colour in _COLOURS.items():
        here = [row for row in rows if row.method == method]
        known, guesses = (
            [(row.size, row.seconds) for row in here if row.seconds and row.extrapolated is guessed]
            for guessed in (False, True)
        )
        width = 2.4 if method == OURS else 1.4
        report.draw_curve(panel, known, "o-", color=colour, lw=width, label=method)
        report.draw_curve(panel, guesses and [*known[-1:], *guesses], "--", color=colour, lw=1.4)
        if method == OURS and known:
            for slope in (1, 2):
                report.draw_guide(panel, known[0], max(row.size for row in rows), slope)
    report.label(panel, title, "points N (and N targets)", "seconds")
