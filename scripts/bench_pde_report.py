"""The table and the picture of ``meanformer bench pde``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meanformer.scripts.bench_circle import BETA, END
from meanformer.scripts.bench_pde import OURS, OWN_STEPS, PEER, TEMPERATURE, Report, Row
from meanformer.scripts.bench_report import (
    Column,
    Line,
    draw_slopes,
    print_report,
    save_figure,
    whole,
)

_COLUMNS = (
    Column("problem"),
    Column("unknowns", right=True),
    Column("what"),
    Column("seconds", right=True),
    Column("error", right=True),
    Column("", wraps=True),
    Column("wanted"),
)
_WHOLE = ("stage", "step", OURS)
_COLOURS = {
    "attention": "#0b6e6e",
    "residual": "#c1440e",
    "limiter": "#7b4fa3",
    "diffusion": "#c79a00",
    "else": "#bbbbbb",
}
_OURS, _OWN_STEPS, _PEER = _COLOURS["attention"], "#7fbcbc", "#767676"


def print_table(report: Report) -> None:
    """Print machine, table and what the columns mean on the terminal."""
    lines = [Line(_cells(row), row.what in _WHOLE) for row in report.rows]
    print_report(report.machine, [], _COLUMNS, lines, list(_footnotes(report)))


def _cells(row: Row) -> list[str]:
    """One line of the table."""
    return [
        row.problem,
        whole(row.size) if row.size else "",
        row.what,
        "-" if row.seconds is None else f"{row.seconds:.3g}",
        "" if row.error is None else f"{row.error:.1e}",
        row.note,
        row.wanted,
    ]


def _footnotes(report: Report) -> Iterator[str]:
    """What the columns mean, as far as the table has them."""
    yield (
        "S²: softmax, β = 4, two caps, degree 2, third-order steps of 4 stages; noise: "
        f"κ = {TEMPERATURE:g}, 4 explicit and 3 implicit stages. Ranks have a core each."
    )
    yield (
        f"S¹: unnormalised, β = {BETA:g}, nearly uniform, to t = {END:g}. Seconds: the least of "
        "several steps or runs; set-up and compilation are left out."
    )
    if any(row.error is not None for row in report.rows):
        yield (
            "error: of the density at the end, in L1, against a Fourier pseudo-spectral solution; "
            "ours is the fastest of the computations tried that is as accurate as the peer. Own "
            "steps: those that the solver chooses by itself, on the same mesh."
        )
    if any(row.growth is not None for row in report.rows):
        yield (
            "N^: growth of the time, least squares over all sizes, in brackets between the two "
            "largest. Resident: the process' largest resident set."
        )


def save_picture(report: Report, file: Path) -> None:
    """Draw parts of a step, growth with size, and time against error.

    Args:
        report: Any.
        file: In a format that matplotlib writes.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    known = [row for row in report.rows if row.seconds is not None]
    growth = [row for row in known if row.resident_bytes is not None]
    circle = [row for row in known if row.error is not None]
    parts = [row for row in known if row not in growth and row not in circle]
    panels = [
        (draw, rows)
        for draw, rows in ((_draw_parts, parts), (_draw_growth, growth), (_draw_circle, circle))
        if rows
    ]
    figure = Figure(figsize=(4.6 * max(1, len(panels)), 3.8), layout="constrained")
    for axes, (draw, rows) in zip(
        figure.subplots(1, max(1, len(panels)), squeeze=False)[0], panels, strict=False
    ):
        draw(axes, rows)
    save_figure(figure, report.machine, file)


def _draw_parts(panel: Any, rows: list[Row]) -> None:
    """A bar for each stage, also of a step with noise, made of its parts."""
    bars: dict[str, dict[str, float]] = {}
    for row in rows:
        times = bars.setdefault(row.problem, {})
        times[row.what] = 1e6 * (row.seconds or 0.0) * row.ranks / row.size / row.stages
    for times in bars.values():
        whole_time = next(times.pop(what) for what in _WHOLE if what in times)
        times["else"] = max(0.0, whole_time - sum(times.values()))
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


def _draw_growth(panel: Any, rows: list[Row]) -> None:
    """Seconds a stage against unknowns, with the resident set at each point."""
    sizes, times = [row.size for row in rows], [row.seconds or 0.0 for row in rows]
    panel.loglog(sizes, times, "o-", color=_OURS, lw=2.4, ms=5)
    for row in rows:
        panel.annotate(
            f"{(row.resident_bytes or 0) / 1e9:.1f} GB",
            (row.size, row.seconds),
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=8,
            color="#555",
            ha="right",
        )
    draw_slopes(panel, (sizes[0], times[0] / 2), sizes[-1], (1,))
    panel.margins(x=0.15, y=0.12)
    panel.set_xlabel("unknowns N")
    panel.set_ylabel("seconds a stage")
    panel.set_title("sphere: time and memory", fontsize=10)
    panel.grid(True, which="major", color="#eee")


def _draw_circle(panel: Any, rows: list[Row]) -> None:
    """Seconds against error."""
    for what, colour in ((OURS, _OURS), (OWN_STEPS, _OWN_STEPS), (PEER, _PEER)):
        line = [(row.error, row.seconds) for row in rows if row.what == what]
        if line:
            panel.loglog(*zip(*line, strict=True), "o-", color=colour, ms=5, label=what)
    for row in rows:
        if row.what == PEER:
            panel.annotate(
                f"{whole(row.size)} points",
                (row.error, row.seconds),
                xytext=(-7, -9),
                textcoords="offset points",
                fontsize=8,
                color="#555",
                ha="right",
            )
    panel.margins(x=0.45, y=0.15)
    panel.set_xlabel("error of the density in L1")
    panel.set_ylabel("seconds")
    panel.set_title("circle: time for the same accuracy", fontsize=10)
    panel.legend(frameon=False, fontsize=8, loc="lower left")
    panel.grid(True, which="major", color="#eee")
