"""``meanformer bench pde``: what a step of the density solver costs, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from meanformer.scripts.bench import machine, process
from meanformer.scripts.bench.circle import BETA, END, OURS, OWN_STEPS, PEER
from meanformer.scripts.bench.growth import exponents, growth_text
from meanformer.scripts.bench.report import (
    Column,
    Curve,
    Report,
    Row,
    draw_curves,
    number,
    whole,
)

#: What ``--problems`` allows.
GROUPS = ("stage", "noise", "growth", "circle")
LEVEL = 5
LEVELS = (4, 5, 6, 7)
#: Points of the peer on the circle.
SIZES = (2500, 5000, 10_000)
TEMPERATURE = 0.05

_TASKS = "meanformer.scripts.bench.density"
_LIBRARIES = ("dolfinx", "petsc4py")
# Of steps, in each process.
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
_LINES = {OURS: _COLOURS["attention"], OWN_STEPS: "#7fbcbc", PEER: "#767676"}


@dataclass(frozen=True, kw_only=True)
class _Row(Row):
    """A part of a stage or a step, or a computation on the circle.

    Attributes:
        what: Part of a stage or a step, "stage" or "step" for all of it; "ours" or the peer.
        ranks: Each with a core of its own.
        stages: Of a step, in ``seconds``.
        rate: Unknowns a second and core.
        iterations: Of the linear solver, a solution.
        wanted: What this project asks for.
    """

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
        footnotes=list(_footnotes(rows)),
        panels=list(_panels([row for row in rows if row.seconds is not None])),
    )


def _stages(level: int, say: Callable[[str], None]) -> Iterator[_Row]:
    """The parts of a stage, on one rank and on two."""
    alone = 0.0
    for ranks in (1, 2):
        title = f"S², level {level}: a stage, {ranks} rank{'s'[: ranks - 1]}"
        say(title)
        rows, times = _sphere(title, "stage", level, ranks=ranks)
        if times:
            ratio, stage = times["attention"] / times["residual"], times["stage"]
            rate = rows["residual"].size / times["residual"] / ranks
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
    rows, times = _sphere(title, "step", level, TEMPERATURE)
    if times:
        share, iterations = times["diffusion"] / times["step"], rows["diffusion"].iterations
        note = f"{share:.0%} of the step; {iterations:.1f} iterations a solve"
        _add(rows, "diffusion", note=note)
    yield from rows.values()


def _growth(levels: Sequence[int], say: Callable[[str], None]) -> Iterator[_Row]:
    """Stages on finer and finer meshes, each in a process of its own, and its memory."""
    rows: list[_Row] = []
    known: dict[int, float] = {}
    for level in levels:
        say(f"{_GROWTH}, level {level}")
        parts, times = _sphere(_GROWTH, "stage", level)
        row = parts["stage"]
        if times:
            known[row.size] = times["stage"]
            note = f"level {level}; {(row.resident_bytes or 0) / 1e9:.2f} GB resident"
            rows.append(replace(row, note=note, wanted="< 6 GB" if level == 7 else ""))
        else:
            yield replace(row, note=f"level {level}: {row.note}")
    growth: dict[str, Any] = exponents(known)
    rows = [replace(row, **growth) for row in rows]
    if growth:
        *rows, last = rows
        note = f"{last.note}; {growth_text(last.growth, last.growth_last)}"
        wanted = ", ".join(filter(None, (last.wanted, "≤ N^1.1")))
        rows.append(replace(last, note=note, wanted=wanted))
    yield from rows


def _add(rows: dict[str, _Row], what: str, **more: Any) -> None:
    rows[what] = replace(rows[what], **more)


def _sphere(
    title: str, what: str, level: int, temperature: float = 0.0, ranks: int = 1
) -> tuple[dict[str, _Row], dict[str, float]]:
    """Rows by the parts of a stage or a step, the last of all of it, and their seconds.

    If it could not be measured, one row that says why, and no seconds.
    """
    results: list[dict[str, Any]] = []
    problem = process.why_not_on(ranks) if ranks > 1 else ""
    if not problem:
        given = {"level": level, "temperature": temperature, "seconds": _SECONDS}
        results, problem = process.measure(
            f"{_TASKS}:sphere", given, ranks=ranks, seconds=10 * _SECONDS
        )
    if not results:
        return {what: _Row(problem=title, size=0, what=what, ranks=ranks, note=problem)}, {}
    found = results[0]
    share = found["stages"] if what == "stage" else 1
    times = {part: seconds / share for part, seconds in found["seconds"].items()}
    times[what] = times.pop("step")
    row = _Row(
        problem=title,
        size=found["unknowns"],
        what=what,
        ranks=ranks,
        stages=found["stages"] // share,
        repetitions=found["repetitions"],
    )
    rows = {part: replace(row, what=part, seconds=seconds) for part, seconds in times.items()}
    _add(rows, what, resident_bytes=found["resident_bytes"])
    if "diffusion" in rows:
        _add(rows, "diffusion", iterations=found["iterations"])
    return rows, times


def _circle(sizes: Sequence[int], say: Callable[[str], None]) -> Iterator[_Row]:
    """The peer, and the fastest of ours that is as accurate."""
    say(_CIRCLE)
    results, problem = process.measure(
        f"{_TASKS}:accuracy", {"sizes": list(sizes)}, ranks=1, seconds=60.0 * len(sizes)
    )
    for size in sizes:
        found = [result for result in results if result["size"] == size]
        ours = [result for result in found if result["what"] == OURS]
        if not ours:
            note = problem or "no computation that was tried is as accurate"
            yield _Row(problem=_CIRCLE, size=size, what=PEER, note=note)
            continue
        best = min(ours, key=lambda result: result["seconds"])
        for result in (best, *(result for result in found if result["what"] == OWN_STEPS)):
            cells, degree = result["cells"], result["degree"]
            note = f"degree {degree}, {cells} cells, {result['steps']} steps"
            yield _computation(result, cells * (degree + 1), note=note)
        peer = next(result for result in found if result["what"] == PEER)
        ratio = peer["seconds"] / best["seconds"]
        note = f"{peer['steps']} steps; {ratio:.1f} times our seconds"
        wanted = "≥ 100" if size == SIZES[-1] else ""
        yield _computation(peer, size, note=note, ratio=ratio, wanted=wanted)


def _computation(found: dict[str, Any], unknowns: int, **more: Any) -> _Row:
    same = {key: found[key] for key in ("what", "seconds", "repetitions", "error")}
    return _Row(problem=_CIRCLE, size=unknowns, **same, **more)


def _footnotes(rows: Sequence[_Row]) -> Iterator[str]:
    """What the columns mean, as far as the table has them."""
    yield (
        "S²: softmax, β = 4, two caps, degree 2, third-order steps of 4 stages; noise: "
        f"κ = {TEMPERATURE:g}, 4 explicit and 3 implicit stages. Ranks have a core each."
    )
    yield (
        f"S¹: unnormalised, β = {BETA:g}, nearly uniform, to t = {END:g}. Seconds: the least of "
        "several steps or runs; set-up and compilation are left out."
    )
    if any(row.error is not None for row in rows):
        yield (
            "error: of the density at the end, in L1, against a Fourier pseudo-spectral solution; "
            "ours is the fastest of the computations tried that is as accurate as the peer. Own "
            "steps: those that the solver chooses by itself, on the same mesh."
        )
    if any(row.growth is not None for row in rows):
        yield (
            "N^: growth of the time, least squares over all sizes, in brackets between the two "
            "largest. Resident: the process' largest resident set."
        )


def _panels(rows: Sequence[_Row]) -> Iterator[Callable[[Any], None]]:
    """Parts of a stage, growth with size, and time against error, as far as measured."""
    growth = [row for row in rows if row.problem == _GROWTH]
    circle = [row for row in rows if row.problem == _CIRCLE]
    parts = [row for row in rows if row not in growth and row not in circle]
    if parts:
        yield partial(_draw_parts, rows=parts)
    if growth:
        yield partial(_draw_growth, rows=growth)
    if circle:
        yield partial(_draw_circle, rows=circle)


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
    panel.margins(x=0.15, y=0.12)


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
