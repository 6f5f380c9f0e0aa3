"""The table and the picture of ``meanformer bench attention``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meanformer.scripts.bench_attention import OURS, Report, Row
from meanformer.scripts.bench_methods import METHODS
from meanformer.scripts.bench_problems import PROBLEMS, SAMPLE
from meanformer.scripts.bench_report import (
    Column,
    Line,
    draw_slopes,
    growth_text,
    print_report,
    save_figure,
    whole,
)

_COLOURS = {OURS: "#0b6e6e", "pykeops": "#c1440e", "torch": "#7b4fa3", "numpy": "#767676"}
_COLUMNS = (
    Column("problem"),
    Column("N", right=True),
    Column("method"),
    Column("seconds", right=True),
    Column("x ours", right=True),
    Column("error", right=True),
    Column("growth"),
    Column("", wraps=True),
)


def print_table(report: Report) -> None:
    """Print machine, table and what the columns mean on the terminal."""
    lines = [Line(_cells(row), row.method == OURS) for row in report.rows]
    about = list(_methods(report))
    print_report(report.machine, about, _COLUMNS, lines, list(_footnotes(report)))


def _methods(report: Report) -> Iterator[str]:
    peak = report.machine["peak_flops"] / 1e9
    yield f"measured peak: {peak:.0f} GFlop/s (double precision, all cores)"
    yield "every method uses all cores"
    for name, method in report.methods.items():
        if "missing" in method:
            yield f"{name}: {method['missing']}; {method['how']}"
        elif name != OURS:
            yield f"{name}: {method['version']}"


def _cells(row: Row) -> list[str]:
    """One line of the table."""
    problem = PROBLEMS[row.problem]
    mark = "~" if row.extrapolated else ""
    tolerance = f", to {problem.tolerance:.0e}" if problem.precision == "double" else ""
    return [
        f"{row.problem}{tolerance}",
        whole(row.size),
        row.method,
        "-" if row.seconds is None else f"{mark}{row.seconds:.3g}",
        "" if row.ratio is None else f"{mark}{row.ratio:.3g}",
        "" if row.error is None else f"{row.error:.0e}",
        growth_text(row.growth, row.growth_last),
        "; ".join(filter(None, (row.form, row.note))),
    ]


def _footnotes(report: Report) -> Iterator[str]:
    """What the columns mean, as far as the table has them."""
    yield "N points and N other targets; seconds: the best of several evaluations, none compiles."
    if any(row.extrapolated for row in report.rows):
        yield (
            f"~ not measured: one evaluation would take over {report.budget:g} s; by the method's "
            "own law of growth, fitted to the sizes measured."
        )
    if any(row.error is not None for row in report.rows):
        yield (
            f"error: of the velocity at {SAMPLE} targets against sums in extended precision, "
            "relative to the largest velocity before projection."
        )
    if any(row.growth is not None for row in report.rows):
        yield (
            "growth: exponent of the time, least squares over the sizes measured (of ours: with "
            "the same backend as the largest); in brackets between the two largest."
        )


def save_picture(report: Report, file: Path) -> None:
    """Draw time against N, a panel a problem; extrapolated parts are dashed.

    Args:
        report: With at least one problem at several sizes.
        file: In a format that matplotlib writes.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    titles = [
        title
        for title in dict.fromkeys(row.problem for row in report.rows)
        if PROBLEMS[title].kind == "speed"
        and len({row.size for row in report.rows if row.problem == title and row.seconds}) > 1
    ]
    across = min(3, max(1, len(titles)))
    lines = max(1, -(-len(titles) // across))
    figure = Figure(figsize=(4.2 * across, 3.6 * lines), layout="constrained")
    panels = figure.subplots(lines, across, squeeze=False, sharey=True).ravel()
    for panel in panels[len(titles) :]:
        panel.set_visible(False)
    for panel, title in zip(panels, titles, strict=False):
        _draw(panel, [row for row in report.rows if row.problem == title])
        panel.set_title(title, fontsize=10)
    if titles:
        lines_of = {line.get_label(): line for panel in panels for line in panel.get_lines()}
        shown = {name: line for name, line in lines_of.items() if name in METHODS}
        figure.legend(
            handles=list(shown.values()), loc="outside lower center", ncols=4, frameon=False
        )
    save_figure(figure, report.machine, file)


def _draw(panel: Any, rows: list[Row]) -> None:
    """One problem: a line a method, and guides of slope 1 and 2 from our first point."""
    ours: list[tuple[int, float]] = []
    for method in dict.fromkeys(row.method for row in rows):
        line = [(row.size, row.seconds, row.extrapolated) for row in rows if row.method == method]
        known = [(n, t) for n, t, guess in line if t is not None and not guess]
        guesses = [(n, t) for n, t, guess in line if t is not None and guess]
        colour = _COLOURS.get(method, "black")
        if known:
            width = 2.4 if method == OURS else 1.4
            panel.loglog(
                *zip(*known, strict=True), "o-", color=colour, lw=width, ms=4, label=method
            )
        if guesses:
            dashed = [*known[-1:], *guesses]
            panel.loglog(*zip(*dashed, strict=True), "--", color=colour, lw=1.2)
        ours = known if method == OURS else ours
    if ours:
        draw_slopes(panel, ours[0], max(row.size for row in rows), (1, 2))
    panel.set_xlabel("points N (and N targets)")
    panel.set_ylabel("seconds")
    panel.label_outer()
    panel.grid(True, which="major", color="#eee")
