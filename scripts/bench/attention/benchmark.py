"""``meanformer bench attention``: our velocity against peers, in time, error and growth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from meanformer.scripts.bench import comparison, machine, report
from meanformer.scripts.bench.attention.methods import METHODS
from meanformer.scripts.bench.attention.problems import PROBLEMS, SAMPLE, Problem

#: Operations of one exponential in double precision: rounding to a whole power of two and the
#: remainder (2), a polynomial of degree 10 (20), and the power (1).
EXP_FLOPS = 23

_TASKS = "meanformer.scripts.bench.attention.velocity"
_FOOTNOTES = {
    "problem": "N points and N other targets; seconds: the best of several evaluations, none "
    "compiles.",
    "error": f"error: of the velocity at {SAMPLE} targets against sums in extended precision, "
    "relative to the largest velocity before projection.",
}


@dataclass(kw_only=True)
class _Row(comparison.Row):
    """A method at one size, and how fast its sums over all pairs are."""

    pair_ns: float | None = None
    peak_fraction: float | None = None

    def cells(self) -> dict[str, str]:
        """What the table says."""
        wanted = f"{self.problem}, to {PROBLEMS[self.problem].tolerance:.0e}"
        return super().cells() | {"problem": wanted}


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
    compared = comparison.Comparison(_TASKS, _Row, PROBLEMS, METHODS, methods, budget)
    facts = machine.describe()
    say("peak of the vector units")
    peak = facts["peak_flops"] = machine.peak_flops()
    compared.measure(groups, sizes, say)
    for title, rows in compared.rows.items():
        if PROBLEMS[title].backend == "direct":
            _rate(PROBLEMS[title], rows, facts["cores"], peak)
    return compared.report(
        "attention",
        facts,
        [f"measured peak: {peak / 1e9:.0f} GFlop/s (double precision, all cores)"],
        _FOOTNOTES,
        "points N (and N targets)",
        {title: _description(PROBLEMS[title]) for title in compared.rows},
    )


def _rate(problem: Problem, rows: Sequence[_Row], cores: int, peak: float) -> None:
    """Add to rows of direct sums the time of a pair, and the fraction of the peak."""
    for row in rows:
        if row.seconds:
            pair = row.seconds / row.size**2
            row.pair_ns = pair * cores * 1e9
            row.peak_fraction = flops_per_pair(problem.space.dimension) / pair / peak
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
