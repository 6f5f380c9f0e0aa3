"""Ours against peers: what is measured in processes, compared, and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from meanformer.scripts.bench import process, report
from meanformer.scripts.bench.peers import OURS, Method
from meanformer.scripts.bench.report import Report

_COLOURS = {OURS: "#0b6e6e", "pykeops": "#c1440e", "torch": "#7b4fa3", "numpy": "#767676"}
_FOOTNOTES = {
    "extrapolated": "~ not measured: one evaluation would take over {budget:g} s; by the method's "
    "own law of growth, fitted to the sizes measured.",
    "growth": "growth: exponent of the time, least squares over the sizes measured (of ours: with "
    "the same backend as the largest); in brackets between the two largest.",
}


@dataclass(frozen=True, eq=False)
class Problem:
    """What is compared.

    Attributes:
        group: What ``--problems`` calls it.
        title: What the table calls it.
        sizes: How large it is, ascending.
        methods: Who is measured.
        task: What is measured: the "speed" against peers, the "memory" of ours, or, "on_ranks",
            the speed-up by a second rank.
    """

    group: str
    title: str
    sizes: tuple[int, ...]
    methods: tuple[str, ...] = field(default=(OURS, "pykeops", "torch", "numpy"), kw_only=True)
    task: Literal["speed", "memory", "on_ranks"] = field(default="speed", kw_only=True)

    def whole(self, size: int) -> int:
        """The least size that there can be and that is no less."""
        return size


@dataclass(kw_only=True)
class Row(report.Row):
    """A method at one size."""

    method: str
    form: str = ""
    extrapolated: bool = False

    @property
    def bold(self) -> bool:
        """Whether it is ours."""
        return self.method == OURS

    def cells(self) -> dict[str, str]:
        """What the table says."""
        mark = "~" if self.extrapolated else ""
        return {
            "problem": self.problem,
            "N": report.whole(self.size),
            "method": self.method,
            "seconds": mark + report.number(self.seconds, ".3g", "-"),
            "x ours": mark + report.number(self.ratio, ".3g") if self.ratio else "",
            "error": report.number(self.error, ".0e"),
            "growth": self.growth_text,
            "": "; ".join(filter(None, (self.form, self.note))),
        }


R = TypeVar("R", bound=Row)


@dataclass
class Comparison(Generic[R]):
    """Measurements of ours and of peers, each in a process of its own.

    Attributes:
        tasks: The module of the tasks "speed", "memory" and "on_ranks": generator functions of a
            problem's title, a method's name, sizes, and the budget.
        row: What makes a row of what they yield.
        problems: All problems by title, in the order of the table.
        methods: All methods by name.
        names: Those to be measured besides ours.
        budget: Seconds that one evaluation may take; beyond, times are extrapolated.
        found: The version of each, or why it is missing and how to get it.
        rows: Of each problem measured.
    """

    tasks: str
    row: Callable[..., R]
    problems: Mapping[str, Problem]
    methods: Mapping[str, Method]
    names: Sequence[str]
    budget: float
    found: dict[str, dict[str, str]] = field(init=False)
    rows: dict[str, list[R]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Look for the methods."""
        chosen = (name for name in self.methods if name == OURS or name in self.names)
        self.found = {name: _version(self.methods[name]) for name in chosen}

    def measure(
        self, groups: Sequence[str], sizes: Sequence[int], say: Callable[[str], None]
    ) -> None:
        """Measure.

        Args:
            groups: Which problems.
            sizes: In place of the problems' own; empty for these.
            say: Told what is being done.
        """
        for title, problem in self.problems.items():
            if problem.group not in groups:
                continue
            rows = self.rows[title] = []
            for name in (name for name in problem.methods if name in self.found):
                say(f"{title}: {name}")
                wanted = sorted({problem.whole(size) for size in sizes or problem.sizes})
                if "missing" in self.found[name]:
                    rows += self._unknown(title, name, wanted, self._missing(name))
                elif problem.task == "on_ranks":
                    rows += self._on_ranks(title, wanted)
                else:
                    rows += self._measured(title, name, wanted)
            ours = {row.size: row.seconds for row in rows if row.method == OURS}
            for row in rows:
                basis = ours.get(row.size)
                if row.seconds and basis and row.method != OURS:
                    row.ratio = row.seconds / basis

    def report(
        self,
        name: str,
        machine: dict[str, Any],
        about: Iterable[str],
        footnotes: Mapping[str, str],
        across: str,
        descriptions: Mapping[str, Any],
    ) -> Report:
        """What was found, and how it is shown.

        Args:
            name: Of the benchmark.
            machine: See ``machine.describe``.
            about: What else stands before the table.
            footnotes: What else stands after it, see ``Report``.
            across: What sizes are, for the picture.
            descriptions: Of the problems, for the JSON file.
        """
        return Report(
            name,
            machine,
            [row for rows in self.rows.values() for row in rows],
            about=[
                *about,
                "every method uses all cores",
                *(
                    f"{name}: {self._missing(name) if 'missing' in method else method['version']}"
                    for name, method in self.found.items()
                    if "missing" in method or name != OURS
                ),
            ],
            footnotes={
                key: text.format(budget=self.budget)
                for key, text in {**footnotes, **_FOOTNOTES}.items()
            },
            panels=[
                partial(_draw, title=title, rows=rows, across=across)
                for title, rows in self.rows.items()
                if self.problems[title].task == "speed"
                and len({row.size for row in rows if row.seconds}) > 1
            ],
            shared=True,
            facts={"methods": self.found, "budget": self.budget, "problems": descriptions},
        )

    def _missing(self, name: str) -> str:
        return f"{self.found[name]['missing']}; {self.found[name]['how']}"

    def _unknown(self, title: str, name: str, sizes: Sequence[int], why: str) -> list[R]:
        return [self.row(problem=title, size=size, method=name, note=why) for size in sizes]

    def _measured(
        self, title: str, name: str, sizes: list[int], ranks: int | None = None
    ) -> list[R]:
        """One method's rows of one problem, also of sizes that its law was fitted to."""
        task, method = self.problems[title].task, self.methods[name]
        results, failure = process.measure(
            f"{self.tasks}:{task}",
            {"problem": title, "method": name, "sizes": sizes, "budget": self.budget},
            environment=method.environment,
            ranks=ranks,
            seconds=5 * self.budget * (len(sizes) + 1),
        )
        rows = [self.row(problem=title, method=name, **result) for result in results]
        done = {row.size for row in rows}
        rows += self._unknown(title, name, [size for size in sizes if size not in done], failure)
        if task == "speed":
            known = [row for row in rows if row.seconds and not row.extrapolated]
            if method.adapts:  # a change of backend is no growth
                known = [row for row in known if row.form == known[-1].form]
            report.add_growth(rows, known)
        return rows

    def _on_ranks(self, title: str, sizes: list[int]) -> list[R]:
        """Ours on one rank and on two, each with a core of its own."""
        if missing := process.why_not_on(2):
            return self._unknown(title, OURS, sizes, missing)
        alone, both = (self._measured(title, OURS, sizes, count) for count in (1, 2))
        for one, two in zip(alone, both, strict=True):
            one.form, two.form = "1 rank, a core each", "2 ranks, a core each"
            two.compare_with_one_rank(one)
        return alone + both


def _version(method: Method) -> dict[str, str]:
    """The method's version, or why it is missing and how to install it."""
    given = {"module": method.module, "remark": method.remark}
    task = "meanformer.scripts.bench.peers:version"
    results, failure = process.measure(task, given, environment=method.environment)
    answer = results[0] if results else {"missing": failure}
    return answer | ({"how": method.how} if "missing" in answer else {})


def _draw(panel: Any, title: str, rows: Sequence[Row], across: str) -> None:
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
    report.label(panel, title, across, "seconds")
