"""What a benchmark hands back: rows, which are a table, JSON and a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from meanformer.scripts.bench.timing import fit_growth
from meanformer.scripts.command_line import wide_console

_WIDTH = 132
_ACROSS = 3
_RIGHT = {"N", "unknowns", "seconds", "x ours", "error"}
_SUPERSCRIPTS = {1: "", 2: "²"}


@dataclass(kw_only=True)
class Row(ABC):
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

    @property
    @abstractmethod
    def bold(self) -> bool:
        """Whether it is printed in bold."""

    @abstractmethod
    def cells(self) -> dict[str, str]:
        """What the table says, by its columns; the first is said once where it stays."""

    @property
    def growth_text(self) -> str:
        """The exponents of the time's growth, that between the two largest sizes in brackets."""
        return "" if self.growth is None else f"N^{self.growth:.2f} ({self.growth_last:.2f})"

    def compare_with_one_rank(self, alone: Row) -> None:
        """Add the speed-up over a row that was measured on one rank, if both were."""
        if self.seconds and alone.seconds:
            self.speedup = alone.seconds / self.seconds
            self.note = f"speed-up {self.speedup:.2f}"


def add_growth(rows: Iterable[Row], measured: Iterable[Row]) -> None:
    """Add to rows with which exponents the time grows over those measured, if they are several."""
    seconds = {row.size: row.seconds for row in measured if row.seconds}
    if len(seconds) < 2:
        return
    largest = {size: seconds[size] for size in sorted(seconds)[-2:]}
    for row in rows:
        row.growth = fit_growth(seconds, np.inf).exponent
        row.growth_last = fit_growth(largest, np.inf).exponent


@dataclass(frozen=True)
class Report:
    """All that one run of a benchmark found, and how it is shown.

    Attributes:
        benchmark: Its name.
        machine: See ``machine.describe``.
        rows: In the order of the table.
        footnotes: Lines after the table: each is printed if any row has the key it explains.
        panels: Each draws into axes of matplotlib.
        about: Lines before the table.
        shared: Whether the panels have one vertical axis and one legend.
        facts: What else the JSON file has.
    """

    benchmark: str
    machine: dict[str, Any]
    rows: Sequence[Row]
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
        for name in self.rows[0].cells():
            right = name in _RIGHT
            table.add_column(name, justify="right" if right else "left", no_wrap=name != "")
        for _, rows in groupby(self.rows, lambda row: row.problem):
            if table.row_count:
                table.add_row()
            for place, row in enumerate(rows):
                head, *cells = row.cells().values()
                style = "bold" if row.bold else None
                table.add_row("" if place else head, *cells, style=style)
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

        count = len(self.panels)
        across = min(_ACROSS, max(1, count))
        down = max(1, -(-count // across))
        figure = Figure(figsize=(4.4 * across, 3.7 * down), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False, sharey=self.shared).ravel()
        for panel, draw in zip(axes[:count], self.panels, strict=True):
            draw(panel)
        for panel in axes[count:]:
            panel.set_visible(False)
        if self.shared and self.panels:
            handles = [panel.get_legend_handles_labels() for panel in axes]
            named = {name: line for each in handles for line, name in zip(*each, strict=True)}
            figure.legend(named.values(), named, loc="outside lower center", ncols=4, frameon=False)
            for panel in axes:
                panel.label_outer()
        title = f"{self.machine['processor']}, {self.machine['cores']} cores"
        figure.suptitle(title, fontsize=9, color="#555")
        figure.savefig(file, dpi=150)


def draw_curve(panel: Any, points: Sequence[tuple[float, float]], style: str, **look: Any) -> None:
    """Draw a curve in doubly logarithmic axes, if it has any points."""
    if points:
        panel.loglog(*zip(*points, strict=True), style, ms=4.5, **look)


def draw_guide(panel: Any, start: tuple[float, float], end: float, slope: int) -> None:
    """Draw a line of slope 1 or 2 from a point to where it ends horizontally."""
    x, y = start
    top = y * (end / x) ** slope
    panel.loglog((x, end), (y, top), ":", color="#bbb", lw=1)
    annotate(panel, f"N{_SUPERSCRIPTS[slope]}", (end, top), xytext=(0, 1), va="bottom")


def annotate(panel: Any, text: str, point: tuple[float, float], **placed: Any) -> None:
    """Write a small note left of a point, or above it."""
    small: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": "#777"}
    panel.annotate(text, point, ha="right", **small, **placed)


def label(panel: Any, title: str, across: str, up: str) -> None:
    """Say what doubly logarithmic axes show."""
    panel.set_title(title, fontsize=10)
    panel.set(xlabel=across, ylabel=up)
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
