"""The table and the picture of ``meanformer bench attention``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from meanformer.scripts.bench_attention import OURS, Report, Row
from meanformer.scripts.bench_methods import METHODS
from meanformer.scripts.bench_problems import PROBLEMS, SAMPLE

_WIDTH = 132
_COLOURS = {OURS: "#0b6e6e", "pykeops": "#c1440e", "torch": "#7b4fa3", "numpy": "#767676"}
_COLUMNS = ("problem", "N", "method", "seconds", "x ours", "error", "growth", "")


def print_table(report: Report) -> None:
    """Print machine, table and what the columns mean on the terminal."""
    console = Console(highlight=False)
    if console.width < _WIDTH:
        # Whole lines can be read in a file, and in a narrow terminal better than broken words.
        console = Console(highlight=False, width=_WIDTH)
    for line in _machine(report):
        console.print(line, soft_wrap=True, markup=False)
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name in _COLUMNS:
        right = name in ("N", "seconds", "x ours", "error")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "")
    before: Row | None = None
    for row in report.rows:
        if before and row.problem != before.problem:
            table.add_section()
            table.add_row()
        fresh = before is None or row.problem != before.problem
        table.add_row(*_cells(row, fresh), style="bold" if row.method == OURS else None)
        before = row
    console.print(table)
    for line in _footnotes(report):
        console.print(line, soft_wrap=True, markup=False)


def _machine(report: Report) -> Iterator[str]:
    machine = report.machine
    cores, memory = machine["cores"], machine["memory_bytes"] / 2**30
    yield f"{machine['processor']}; {cores} cores used by every method; {memory:.0f} GiB of memory"
    yield (
        f"{machine['system']}; load before: {machine['load']:.2f}; "
        f"measured peak: {machine['peak_flops'] / 1e9:.0f} GFlop/s (double precision, all cores)"
    )
    yield ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    for name, method in report.methods.items():
        if "missing" in method:
            yield f"{name}: {method['missing']}; {method['how']}"
        elif name != OURS:
            yield f"{name}: {method['version']}"
    yield ""


def _cells(row: Row, fresh: bool) -> list[str]:
    """One line of the table."""
    problem = PROBLEMS[row.problem]
    mark = "~" if row.extrapolated else ""
    tolerance = f", to {problem.tolerance:.0e}" if problem.precision == "double" else ""
    growth = (
        ""
        if row.growth is None or row.growth_last is None
        else (f"N^{row.growth:.2f} ({row.growth_last:.2f})")
    )
    return [
        f"{row.problem}{tolerance}" if fresh else "",
        f"{row.size:,}".replace(",", " "),
        row.method,
        "-" if row.seconds is None else f"{mark}{row.seconds:.3g}",
        "" if row.ratio is None else f"{mark}{row.ratio:.3g}",
        "" if row.error is None else f"{row.error:.0e}",
        growth,
        "; ".join(filter(None, (row.form, row.note))),
    ]


def _footnotes(report: Report) -> Iterator[str]:
    """What the columns mean, as far as the table has them."""
    yield ""
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
    machine = report.machine
    figure.suptitle(f"{machine['processor']}, {machine['cores']} cores", fontsize=9, color="#555")
    figure.savefig(file, dpi=150)


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
        (n, t), sizes = ours[0], sorted({row.size for row in rows})
        for slope in (1, 2):
            ends = (n, sizes[-1])
            panel.loglog(ends, [t * (m / n) ** slope for m in ends], ":", color="#bbb", lw=1)
            panel.annotate(
                f"N{'²' if slope == 2 else ''}",
                (ends[1], t * (ends[1] / n) ** slope),
                color="#999",
                fontsize=8,
                ha="right",
                va="bottom",
            )
    panel.set_xlabel("points N (and N targets)")
    panel.set_ylabel("seconds")
    panel.label_outer()
    panel.grid(True, which="major", color="#eee")
