"""What a benchmark hands back: rows, which are a table, JSON and a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from meanformer.scripts.command_line import wide_console

_WIDTH = 132
_ACROSS = 3
_SUPERSCRIPTS = {1: "", 2: "²"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table and of the JSON file, whose keys docs/benchmarks.md explains."""

    problem: str
    size: int
    seconds: float | None = None
    repetitions: int = 0
    error: float | None = None
    ratio: float | None = None
    growth: float | None = None
    growth_last: float | None = None
    resident_bytes: int | None = None
    speedup: float | None = None
    note: str = ""


class Column(NamedTuple):
    """A column of a table: its head, what it says of a row, and how that is set."""

    name: str
    text: Callable[[Any], str]
    right: bool = False
    wraps: bool = False


@dataclass(frozen=True)
class Report:
    """All that one run of a benchmark found, and how it is shown.

    Attributes:
        benchmark: Its name.
        machine: See ``machine.describe``.
        rows: In the order of the table.
        columns: The first one's text is said once where it stays, and a gap follows.
        bold: Whether a row is printed in bold.
        footnotes: Lines after the table: each is printed if any row has the key it explains.
        panels: Each draws into axes of matplotlib.
        about: Lines before the table.
        shared: Whether the panels have one vertical axis and one legend.
        facts: What else the JSON file has.
    """

    benchmark: str
    machine: dict[str, Any]
    rows: Sequence[Row]
    columns: Sequence[Column]
    bold: Callable[[Any], bool]
    footnotes: Mapping[str, str]
    panels: Sequence[Callable[[Any], None]]
    about: Sequence[str] = ()
    shared: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [asdict(row) for row in self.rows]
        return {"benchmark": self.benchmark, "machine": self.machine, **self.facts, "rows": rows}

    def print_table(self) -> None:
        """Print machine, table and what the columns mean on the terminal."""
        console = wide_console(_WIDTH)
        for text in (*_machine(self.machine), *self.about, ""):
            console.print(text, soft_wrap=True, markup=False)
        table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
        for column in self.columns:
            table.add_column(
                column.name,
                justify="right" if column.right else "left",
                no_wrap=not column.wraps,
            )
        for head, rows in groupby(self.rows, self.columns[0].text):
            if table.row_count:
                table.add_row()
            for number, row in enumerate(rows):
                cells = [column.text(row) for column in self.columns[1:]]
                style = "bold" if self.bold(row) else None
                table.add_row("" if number else head, *cells, style=style)
        console.print(table)
        console.print()
        for key, text in self.footnotes.items():
            if any(getattr(row, key) not in (None, False) for row in self.rows):
                console.print(text, soft_wrap=True, markup=False)

    def save_picture(self, file: Path) -> None:
        """Draw the panels under the name of the machine.

        Args:
            file: In a format that matplotlib writes.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
        """
        from matplotlib.figure import Figure

        across = min(_ACROSS, max(1, len(self.panels)))
        down = max(1, -(-len(self.panels) // across))
        figure = Figure(figsize=(4.4 * across, 3.7 * down), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False, sharey=self.shared).ravel()
        for panel, draw in zip_longest(axes, self.panels):
            if draw is None:
                panel.set_visible(False)
            else:
                draw(panel)
        if self.shared and self.panels:
            named = {
                name: line
                for panel in axes
                for line, name in zip(*panel.get_legend_handles_labels(), strict=True)
            }
            figure.legend(named.values(), named, loc="outside lower center", ncols=4, frameon=False)
            for panel in axes:
                panel.label_outer()
        title = f"{self.machine['processor']}, {self.machine['cores']} cores"
        figure.suptitle(title, fontsize=9, color="#555")
        figure.savefig(file, dpi=150)


class Curve(NamedTuple):
    """A line of a picture: pairs, notes beside them; dashed ones are not named in the legend."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    width: float = 1.4
    dashed: bool = False
    notes: Sequence[str] = ()


def draw_curves(
    panel: Any,
    title: str,
    axes: tuple[str, str],
    curves: Sequence[Curve],
    guides: Sequence[tuple[tuple[float, float], float, int]] = (),
) -> None:
    """Draw curves in doubly logarithmic axes.

    Args:
        panel: Axes of matplotlib.
        title: Of the panel.
        axes: What is drawn, horizontally and vertically.
        curves: Those without points are left out.
        guides: Of slope 1 or 2: where they start, where they end horizontally, the slope.
    """
    small: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": "#777"}
    for curve in (curve for curve in curves if curve.points):
        style = "--" if curve.dashed else "o-"
        label = "_" if curve.dashed else curve.label
        across, up = zip(*curve.points, strict=True)
        panel.loglog(across, up, style, color=curve.colour, lw=curve.width, ms=4.5, label=label)
        for note, point in zip(curve.notes, curve.points, strict=False):
            panel.annotate(note, point, xytext=(-7, 0), ha="right", **small)
    for (x, y), end, slope in guides:
        top = y * (end / x) ** slope
        panel.loglog((x, end), (y, top), ":", color="#bbb", lw=1)
        name = f"N{_SUPERSCRIPTS[slope]}"
        panel.annotate(name, (end, top), xytext=(0, 1), ha="right", va="bottom", **small)
    panel.set_title(title, fontsize=10)
    panel.set(xlabel=axes[0], ylabel=axes[1])
    panel.grid(True, which="major", color="#eee")


def _machine(machine: dict[str, Any]) -> Iterator[str]:
    cores, memory = machine["cores"], machine["memory_bytes"] / 2**30
    yield f"{machine['processor']}; {cores} cores; {memory:.0f} GiB of memory"
    yield f"{machine['system']}; load before: {machine['load']:.2f}"
    yield ", ".join(f"{name} {number}" for name, number in machine["versions"].items())


def whole(number: int) -> str:
    """A whole number, in groups of three digits."""
    return f"{number:,}".replace(",", " ")


def number(value: float | None, form: str, otherwise: str = "") -> str:
    """A number, or a word where there is none."""
    return otherwise if value is None else f"{value:{form}}"
