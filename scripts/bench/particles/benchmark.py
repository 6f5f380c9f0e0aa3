"""``meanformer bench particles``: our step of tokens against peers, in time, error and growth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from meanformer.scripts.bench import comparison, machine, report
from meanformer.scripts.bench.particles.methods import METHODS
from meanformer.scripts.bench.particles.problems import PROBLEMS, SAMPLE, STEP, Problem

_TASKS = "meanformer.scripts.bench.particles.tokens"
_FOOTNOTES = {
    "problem": f"N tokens in all; seconds: of one Runge-Kutta step of length {STEP:g}, its four "
    "stages and the normalisation, the best of several, none of which compiles.",
    "error": f"error: of {SAMPLE} tokens after the step against steps in extended precision, in "
    "the field of all tokens, whose stages are ours to 1e-12.",
}


@dataclass(kw_only=True)
class _Row(comparison.Row):
    """A method at one size, and what is wanted of ours."""

    wanted: str = ""

    def cells(self) -> dict[str, str]:
        """What the table says."""
        return super().cells() | {"wanted": self.wanted}


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
        sizes: Numbers of tokens in place of the problems' own; empty for these. Where systems
            are many, the last one is made whole.
        budget: Seconds that one step may take; beyond, times are extrapolated.
        say: Told what is being done.
    """
    compared = comparison.Comparison(_TASKS, _Row, PROBLEMS, METHODS, methods, budget)
    facts = machine.describe()
    compared.measure(groups, sizes, say)
    for title, rows in compared.rows.items():
        largest = PROBLEMS[title].sizes[-1]
        ours = [row for row in rows if row.bold and row.size == largest]
        for row in ours[-1:]:
            row.wanted = PROBLEMS[title].wanted
    return compared.report(
        "particles",
        facts,
        [],
        _FOOTNOTES,
        "tokens N",
        {title: _description(PROBLEMS[title]) for title in compared.rows},
    )


def _description(problem: Problem) -> dict[str, Any]:
    return {
        "group": problem.group,
        "space": "sphere",
        "dimension": problem.dimension,
        "law": problem.attention.law,
        "beta": problem.beta,
        "tokens_in_a_system": problem.tokens,
    }
