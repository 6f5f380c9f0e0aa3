"""``meanformer bench pde``: what a step of the density solver costs, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from meanformer.scripts.bench import machine, process, report
from meanformer.scripts.bench.pde.circle import BETA, END, OURS, OWN_STEPS, PEER

#: What ``--problems`` allows.
GROUPS = ("stage", "noise", "growth", "circle")
LEVEL = 5
LEVELS = (4, 5, 6, 7)
#: Points of the peer on the circle.
SIZES = (2500, 5000, 10_000)
TEMPERATURE = 0.05

_LIBRARIES = ("dolfinx", "petsc4py")
# Steps are taken for so long in each process.
_SECONDS = 10.0
_GROWTH, _CIRCLE = "S²: growth", "S¹: the same accuracy"
_WHOLE = ("stage", "step", OURS)
_COLOURS = {
    "attention": "#0b6e6e",
    "residual": "#c1440e",
    "limiter": "#7b4fa3",
    "diffusion": "#c79a00",
    "else": "#bbbbbb",
}
_FOOTNOTES = {
    "problem": "S²: softmax, β = 4, two caps, degree 2, third-order steps of 4 stages; noise: "
    f"κ = {TEMPERATURE:g}, 4 explicit and 3 implicit stages. Ranks have a core each.",
    "what": f"S¹: unnormalised, β = {BETA:g}, nearly uniform, to t = {END:g}. Seconds: the least "
    "of several steps or runs; set-up and compilation are left out.",
    "error": "error: of the density at the end, in L1, against a Fourier pseudo-spectral solution; "
    "ours is the fastest of the computations tried that is as accurate as the peer. Own steps: "
    "those that the solver chooses by itself, on the same mesh.",
    "growth": "N^: growth of the time, least squares over all sizes, in brackets between the two "
    "largest. Resident: the process' largest resident set.",
}
_LINES = {OURS: _COLOURS["attention"], OWN_STEPS: "#7fbcbc", PEER: "#767676"}


@dataclass(kw_only=True)
class _Row(report.Row):
    """A part of a stage or a step, or a computation on the circle."""

    what: str
    ranks: int = 1
    stages: int = 1
    rate: float | None = None
    iterations: float | None = None
    wanted: str = ""

    @property
    def bold(self) -> bool:
        return self.what in _WHOLE

    def cells(self) -> dict[str, str]:
        return {
            "problem": self.problem,
            "unknowns": report.whole(self.size) if self.size else "",
            "what": self.what,
            "seconds": report.number(self.seconds, ".3g", "-"),
            "error": report.number(self.error, ".1e"),
            "": self.note,
            "wanted": self.wanted,
        }


def run(
    groups: Sequence[str],
    levels: Sequence[int],
    sizes: Sequence[int],
    say: Callable[[str], None],
) -> report.Report:
    """Measure.

    Args:
        groups: Which problems; see ``GROUPS``.
        levels: Of the icosphere, in place of the problems' own; empty for these.
        sizes: Points of the peer on the circle, likewise.
        say: Told what is being done.
    """
    facts = machine.describe(_LIBRARIES)
    rows: list[_Row] = []
    if "stage" in groups:
        for level in levels or (LEVEL,):
            rows += _stages(level, say)
    if "noise" in groups:
        for level in levels or (LEVEL,):
            title = f"S², level {level}: a step with noise"
            say(title)
            rows += _sphere(title, level, TEMPERATURE)
    if "growth" in groups:
        rows += _growth(levels or LEVELS, say)
    if "circle" in groups:
        say(_CIRCLE)
        points = list(sizes or SIZES)
        rows += _rows(_CIRCLE, PEER, "accuracy", {"sizes": points}, 60.0 * len(points))
    panels = list(_panels([row for row in rows if row.seconds is not None]))
    return report.Report("pde", facts, rows, _FOOTNOTES, panels)


def _stages(level: int, say: Callable[[str], None]) -> list[_Row]:
    """The parts of a stage, on one rank and on two."""
    rows: list[_Row] = []
    for ranks, words in ((1, "1 rank"), (2, "2 ranks")):
        title = f"S², level {level}: a stage, {words}"
        say(title)
        found = _sphere(title, level, ranks=ranks)
        if rows:
            found[-1].compare_with_one_rank(rows[-1])
        rows += found
    return rows


def _growth(levels: Sequence[int], say: Callable[[str], None]) -> list[_Row]:
    """Stages on finer and finer meshes, each in a process of its own, and its memory."""
    rows = []
    for level in levels:
        say(f"{_GROWTH}, level {level}")
        row = _sphere(_GROWTH, level)[-1]
        if row.resident_bytes:
            row.note = f"{row.resident_bytes / 1e9:.2f} GB resident"
            row.wanted = "< 6 GB" if level == 7 else ""
        row.note = f"level {level}; {row.note}"
        rows.append(row)
    report.add_growth(rows, rows)
    last = rows[-1]
    if last.growth is not None:
        last.note += f"; {last.growth_text}"
        last.wanted = ", ".join(filter(None, (last.wanted, "≤ N^1.1")))
    return rows


def _sphere(title: str, level: int, temperature: float = 0.0, ranks: int = 1) -> list[_Row]:
    """Rows of the parts of a stage or, with noise, of a step, the last of all of it."""
    given = {"level": level, "temperature": temperature, "seconds": _SECONDS}
    what = "step" if temperature else "stage"
    return _rows(title, what, "sphere", given, 10 * _SECONDS, ranks)


def _rows(
    title: str, what: str, task: str, given: dict[str, Any], seconds: float, ranks: int = 1
) -> list[_Row]:
    """What a task has found, and a row that says what went wrong, if anything did."""
    task = f"meanformer.scripts.bench.pde.density:{task}"
    results, failure = process.measure(task, given, ranks=ranks, seconds=seconds)
    if failure:
        results = [*results, {"what": what, "size": 0, "note": failure}]
    return [_Row(problem=title, ranks=ranks, **result) for result in results]


def _panels(rows: Sequence[_Row]) -> Iterator[Callable[[Any], None]]:
    """Parts of a stage, growth with size, and time against error, as far as measured."""
    titled = {_GROWTH: _draw_growth, _CIRCLE: _draw_circle}
    parts = [row for row in rows if row.problem not in titled]
    if parts:
        yield partial(_draw_parts, rows=parts)
    for title, draw in titled.items():
        if here := [row for row in rows if row.problem == title]:
            yield partial(draw, rows=here)


def _draw_parts(panel: Any, rows: Sequence[_Row]) -> None:
    """A bar for each stage, also of a step with noise, made of its parts."""
    bars: dict[str, dict[str, float]] = {}
    for row in rows:
        times = bars.setdefault(row.problem.replace(": ", "\n").replace("a step", "a stage"), {})
        part = "else" if row.what in _WHOLE else row.what
        times[part] = 1e6 * (row.seconds or 0.0) * row.ranks / row.size / row.stages
    for times in bars.values():
        parts = sum(time for part, time in times.items() if part != "else")
        times["else"] = max(0.0, times["else"] - parts)
    ends = np.zeros(len(bars))
    for part, colour in _COLOURS.items():
        lengths = [times.get(part, 0.0) for times in bars.values()]
        if any(lengths):
            panel.barh(list(bars), lengths, 0.6, ends, color=colour, label=part)
        ends += lengths
    panel.invert_yaxis()
    panel.tick_params(axis="y", labelsize=8)
    panel.set_xlabel("microseconds a core and unknown")
    panel.set_title("parts of a stage", fontsize=10)
    panel.legend(frameon=False, fontsize=8)


def _draw_growth(panel: Any, rows: Sequence[_Row]) -> None:
    """Seconds a stage against unknowns, with the resident set at each point."""
    points = [(float(row.size), row.seconds or 0.0) for row in rows]
    report.draw_curve(panel, points, "o-", color=_COLOURS["attention"], lw=2.4)
    for row, point in zip(rows, points, strict=True):
        report.annotate(panel, f"{(row.resident_bytes or 0) / 1e9:.1f} GB", point, xytext=(-7, 0))
    report.draw_guide(panel, (points[0][0], points[0][1] / 2), points[-1][0], 1)
    report.label(panel, "sphere: time and memory", "unknowns N", "seconds a stage")
    panel.margins(x=0.22, y=0.12)


def _draw_circle(panel: Any, rows: Sequence[_Row]) -> None:
    for what, colour in _LINES.items():
        here = [row for row in rows if row.what == what]
        points = [(row.error or 0.0, row.seconds or 0.0) for row in here]
        report.draw_curve(panel, points, "o-", color=colour, lw=1.4, label=what)
        if what == PEER:
            for row, point in zip(here, points, strict=True):
                note = f"{report.whole(row.size)} points"
                report.annotate(panel, note, point, xytext=(-7, 0))
    title = "circle: time for the same accuracy"
    report.label(panel, title, "error of the density in L1", "seconds")
    panel.margins(x=0.45, y=0.15)
    panel.legend(frameon=False, fontsize=8, loc="lower left")
