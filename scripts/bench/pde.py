"""``meanformer bench pde``: what a step of the density solver costs, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from meanformer.scripts.bench import machine, process
from meanformer.scripts.bench.circle import BETA, END, OURS, OWN_STEPS, PEER
from meanformer.scripts.bench.report import (
    Column,
    Curve,
    Report,
    Row,
    draw_curves,
    number,
    whole,
)
from meanformer.scripts.bench.timing import exponents, growth_text

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


@dataclass(frozen=True, kw_only=True)
class _Row(Row):
    """A part of a stage or a step, or a computation on the circle."""

    what: str
    ranks: int = 1
    stages: int = 1
    rate: float | None = None
    iterations: float | None = None
    wanted: str = ""


def run(
    groups: Sequence[str],
    levels: Sequence[int],
    sizes: Sequence[int],
    say: Callable[[str], None],
) -> Report:
    """Measure.

    Args:
        groups: Which problems; see ``GROUPS``.
        levels: Of the icosphere, in place of the problems' own; empty for these.
        sizes: Points of the peer on the circle, likewise.
        say: Told what is being done.
    """
    facts = machine.describe(_LIBRARIES)
    rows: list[_Row] = []
    for group in (group for group in GROUPS if group in groups):
        if group == "circle":
            rows += _circle(sizes or SIZES, say)
        elif group == "growth":
            rows += _growth(levels or LEVELS, say)
        else:
            measured = _stages if group == "stage" else _steps_with_noise
            for level in levels or (LEVEL,):
                rows += measured(level, say)
    return Report(
        "pde",
        facts,
        rows,
        columns=(
            Column("problem", lambda row: row.problem),
            Column("unknowns", lambda row: whole(row.size) if row.size else "", right=True),
            Column("what", lambda row: row.what),
            Column("seconds", lambda row: number(row.seconds, ".3g", "-"), right=True),
            Column("error", lambda row: number(row.error, ".1e"), right=True),
            Column("", lambda row: row.note, wraps=True),
            Column("wanted", lambda row: row.wanted),
        ),
        bold=lambda row: row.what in _WHOLE,
        footnotes=_FOOTNOTES,
        panels=list(_panels([row for row in rows if row.seconds is not None])),
    )


def _stages(level: int, say: Callable[[str], None]) -> Iterator[_Row]:
    """The parts of a stage, on one rank and on two."""
    alone = 0.0
    for ranks in (1, 2):
        title = f"S², level {level}: a stage, {ranks} rank{'s'[: ranks - 1]}"
        say(title)
        rows = _sphere(title, "stage", level, ranks=ranks)
        seconds = {what: row.seconds or 0.0 for what, row in rows.items()}
        if "residual" in rows:
            ratio, stage = seconds["attention"] / seconds["residual"], seconds["stage"]
            rate = rows["residual"].size / seconds["residual"] / ranks
            note = f"{rate / 1e6:.1f} million unknowns a second and core"
            _add(rows, "attention", ratio=ratio, note=f"{ratio:.2f} of the residual", wanted="≤ 1")
            _add(rows, "residual", rate=rate, note=note, wanted="≥ 6 million")
            if alone:
                _add(rows, "stage", speedup=alone / stage, note=f"speed-up {alone / stage:.2f}")
            alone = stage
        yield from rows.values()


def _steps_with_noise(level: int, say: Callable[[str], None]) -> Iterator[_Row]:
    """The parts of an implicit-explicit step."""
    title = f"S², level {level}: a step with noise"
    say(title)
    rows = _sphere(title, "step", level, TEMPERATURE)
    if "diffusion" in rows:
        share = (rows["diffusion"].seconds or 0.0) / (rows["step"].seconds or 1.0)
        iterations = rows["diffusion"].iterations
        note = f"{share:.0%} of the step; {iterations:.1f} iterations a solve"
        _add(rows, "diffusion", note=note)
    yield from rows.values()


def _growth(levels: Sequence[int], say: Callable[[str], None]) -> Iterator[_Row]:
    """Stages on finer and finer meshes, each in a process of its own, and its memory."""
    rows: list[_Row] = []
    for level in levels:
        say(f"{_GROWTH}, level {level}")
        row = _sphere(_GROWTH, "stage", level)["stage"]
        memory = row.note or f"{(row.resident_bytes or 0) / 1e9:.2f} GB resident"
        wanted = "< 6 GB" if level == 7 and not row.note else ""
        rows.append(replace(row, note=f"level {level}; {memory}", wanted=wanted))
    growth: dict[str, Any] = exponents({row.size: row.seconds for row in rows if row.seconds})
    rows = [replace(row, **growth) for row in rows]
    if growth:
        note = f"{rows[-1].note}; {growth_text(**growth)}"
        wanted = ", ".join(filter(None, (rows[-1].wanted, "≤ N^1.1")))
        rows[-1] = replace(rows[-1], note=note, wanted=wanted)
    yield from rows


def _circle(sizes: Sequence[int], say: Callable[[str], None]) -> Iterator[_Row]:
    """The peer, and the fastest of ours that is as accurate."""
    say(_CIRCLE)
    given = {"sizes": list(sizes)}
    for row in _rows(_CIRCLE, PEER, "accuracy", given, 60.0 * len(sizes)):
        asked = row.what == PEER and row.size == SIZES[-1]
        yield replace(row, wanted="≥ 100") if asked else row


def _sphere(
    title: str, whole: str, level: int, temperature: float = 0.0, ranks: int = 1
) -> dict[str, _Row]:
    """Rows by the parts of a stage or a step, the last of all of it."""
    given = {"level": level, "temperature": temperature, "whole": whole, "seconds": _SECONDS}
    rows = _rows(title, whole, "sphere", given, 10 * _SECONDS, ranks)
    return {row.what: row for row in rows}


def _rows(
    title: str, what: str, task: str, given: dict[str, Any], seconds: float, ranks: int = 1
) -> list[_Row]:
    """What a task has found, and a row that says what went wrong, if anything did."""
    results: list[dict[str, Any]] = []
    problem = process.why_not_on(ranks) if ranks > 1 else ""
    if not problem:
        task = f"meanformer.scripts.bench.density:{task}"
        results, problem = process.measure(task, given, ranks=ranks, seconds=seconds)
    failed = [{"what": what, "size": 0, "note": problem}] if problem else []
    return [_Row(problem=title, ranks=ranks, **found) for found in (*results, *failed)]


def _add(rows: dict[str, _Row], what: str, **more: Any) -> None:
    rows[what] = replace(rows[what], **more)


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
        times = bars.setdefault(row.problem, {})
        times[row.what] = 1e6 * (row.seconds or 0.0) * row.ranks / row.size / row.stages
    for times in bars.values():
        total = next(times.pop(what) for what in _WHOLE if what in times)
        times["else"] = max(0.0, total - sum(times.values()))
    bottoms = [0.0] * len(bars)
    for part, colour in _COLOURS.items():
        heights = [times.get(part, 0.0) for times in bars.values()]
        if any(heights):
            panel.bar(range(len(bars)), heights, 0.6, bottoms, color=colour, label=part)
        bottoms = [a + b for a, b in zip(bottoms, heights, strict=True)]
    names = [title.replace(": ", "\n").replace("a step", "a stage") for title in bars]
    panel.set_xticks(range(len(names)), names, fontsize=8)
    panel.set_ylabel("microseconds a core and unknown")
    panel.set_title("parts of a stage", fontsize=10)
    panel.legend(frameon=False, fontsize=8, loc="upper left")


def _draw_growth(panel: Any, rows: Sequence[_Row]) -> None:
    """Seconds a stage against unknowns, with the resident set at each point."""
    points = [(float(row.size), row.seconds or 0.0) for row in rows]
    notes = [f"{(row.resident_bytes or 0) / 1e9:.1f} GB" for row in rows]
    curve = Curve("stage", _COLOURS["attention"], points, 2.4, notes=notes)
    start = points[0][0], points[0][1] / 2
    axes = ("unknowns N", "seconds a stage")
    draw_curves(panel, "sphere: time and memory", axes, [curve], [(start, points[-1][0], 1)])
    panel.margins(x=0.22, y=0.12)


def _draw_circle(panel: Any, rows: Sequence[_Row]) -> None:
    """Seconds against error."""
    curves = []
    for what, colour in _LINES.items():
        here = [row for row in rows if row.what == what]
        notes = [f"{whole(row.size)} points" for row in here] if what == PEER else []
        points = [(row.error or 0.0, row.seconds or 0.0) for row in here]
        curves.append(Curve(what, colour, points, notes=notes))
    title, axes = "circle: time for the same accuracy", ("error of the density in L1", "seconds")
    draw_curves(panel, title, axes, curves)
    panel.margins(x=0.45, y=0.15)
    panel.legend(frameon=False, fontsize=8, loc="lower left")
