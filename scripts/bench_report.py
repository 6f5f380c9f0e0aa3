"""What tables and pictures of ``meanformer bench`` have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

_WIDTH = 132
_SUPERSCRIPTS = {1: "", 2: "²"}


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: Its head.
        right: Whether it is aligned to the right.
        wraps: Whether its text may go on in a next line.
    """

    name: str
    right: bool = False
    wraps: bool = False


class Line(NamedTuple):
    """A line of a table: a text for each column, and whether it is bold."""

    cells: list[str]
    bold: bool


def print_report(
    machine: dict[str, Any],
    about: Sequence[str],
    columns: Sequence[Column],
    lines: Sequence[Line],
    footnotes: Sequence[str],
) -> None:
    """Print machine, table and what the columns mean on the terminal.

    Args:
        machine: See ``bench_machine.describe``.
        about: What else there is to say before the table, in lines.
        columns: Of the table.
        lines: Its lines; the first column's text is said once where it stays, and a gap follows.
        footnotes: Lines after the table.
    """
    console = Console(highlight=False)
    if console.width < _WIDTH:
        # Whole lines can be read in a file, and in a narrow terminal better than broken words.
        console = Console(highlight=False, width=_WIDTH)
    for text in (*_machine(machine), *about, ""):
        console.print(text, soft_wrap=True, markup=False)
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for column in columns:
        justify = "right" if column.right else "left"
        table.add_column(column.name, justify=justify, no_wrap=not column.wraps)  # type: ignore[arg-type]
    for head, group in groupby(lines, lambda line: line.cells[0]):
        if table.row_count:
            table.add_section()
            table.add_row()
        for number, (cells, bold) in enumerate(group):
            said = "" if number else head
            table.add_row(said, *cells[1:], style="bold" if bold else None)
    console.print(table)
    for text in ("", *footnotes):
        console.print(text, soft_wrap=True, markup=False)


def _machine(machine: dict[str, Any]) -> Iterator[str]:
    cores, memory = machine["cores"], machine["memory_bytes"] / 2**30
    yield f"{machine['processor']}; {cores} cores; {memory:.0f} GiB of memory"
    yield f"{machine['system']}; load before: {machine['load']:.2f}"
    yield ", ".join(f"{name} {number}" for name, number in machine["versions"].items())


def whole(number: int) -> str:
    """A whole number, in groups of three digits."""
    return f"{number:,}".replace(",", " ")


def growth_text(exponent: float | None, last: float | None) -> str:
    """Exponents of a growth: over all sizes, and in brackets between the two largest."""
    return "" if exponent is None or last is None else f"N^{exponent:.2f} ({last:.2f})"


def draw_slopes(
    panel: Any, start: tuple[float, float], end: float, slopes: Sequence[int], name: str = "N"
) -> None:
    """Guides of some slopes in a logarithmic panel.

    Args:
        panel: Axes of matplotlib.
        start: Where they start.
        end: Where they end, horizontally.
        slopes: 1 or 2.
        name: What grows.
    """
    n, t = start
    for slope in slopes:
        top = t * (end / n) ** slope
        panel.loglog((n, end), (t, top), ":", color="#bbb", lw=1)
        panel.annotate(
            f"{name}{_SUPERSCRIPTS[slope]}",
            (end, top),
            color="#999",
            fontsize=8,
            ha="right",
            va="bottom",
        )


def save_figure(figure: Any, machine: dict[str, Any], file: Path) -> None:
    """Name the machine above a figure of matplotlib, and write it in the format of the ending."""
    figure.suptitle(f"{machine['processor']}, {machine['cores']} cores", fontsize=9, color="#555")
    figure.savefig(file, dpi=150)
