"""The table, the CSV file and the picture of ``meanformer converge``."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from meanformer.arrays import Array
from meanformer.scripts.command_line import wide_console
from meanformer.simulation.studies.study import Row, Study
from meanformer.simulation.studies.variants import spell

_WIDTH = 100
_ERROR, _LAW = "#0b6e6e", "#c1440e"
# Between ticks, as a share of the axis: less has no room for their labels.
_SMALLEST_GAP = 0.14
_COLUMNS = ("size", "error", "order", "doubt", "seconds", "status", "reason")


def print_table(study: Study) -> None:
    """Print the runs, and what the columns mean, on the terminal."""
    console = wide_console(_WIDTH)
    columns = {study.key: [spell(row.value) for row in study.rows]}
    if study.meaning not in ("", study.key):
        columns[study.symbol] = [_number(row.size, ".4g") for row in study.rows]
    columns["error"] = [_error(row) for row in study.rows]
    columns["order"] = [_number(row.order, ".2f") for row in study.rows]
    columns["seconds"] = [_number(row.seconds, ".2f") for row in study.rows]
    if any(row.doubt for row in study.rows):
        columns["doubt"] = [row.doubt for row in study.rows]
    table = Table(box=None, header_style="", padding=(0, 2, 0, 0))
    for name in columns:
        left = name in (study.key, "doubt")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    console.print(table)
    for line in _footnotes(study):
        console.print(line, soft_wrap=True, markup=False)


def _error(row: Row) -> str:
    if row.status != "done":
        return row.status
    return "reference" if math.isnan(row.error) else f"{row.error:.3e}"


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else ""


def _footnotes(study: Study) -> Iterator[str]:
    """What the error is, the order with its spread, and why runs are missing."""
    yield ""
    yield f"error: {_what(study).removeprefix('error ')} at the end, {_against(study)}"
    if study.fit is not None:
        yield f"order {study.order:.3f} in {_size(study)}{_spread(study, '; ')}"
        if study.expected is not None:
            low, high = study.expected.lowest, study.expected.highest
            orders = f"{low:g} to {high:g}" if high > low else f"{low:g}"
            yield f"expected: {orders} ({study.expected.why})"
        for doubt in study.doubts:
            yield f"not to be believed: {doubt}"
    else:
        yield f"no order: {_why_no_order(study)}"
    for row in study.rows:
        if row.status != "done":
            yield f"{study.key} = {spell(row.value)} {row.status}: {row.reason}"


def _spread(study: Study, separator: str) -> str:
    """The least and the largest order between neighbours, after a separator; or nothing."""
    low, high = study.spread
    return f"{separator}{low:.2f} to {high:.2f} between neighbours" if high > low else ""


def _size(study: Study) -> str:
    return f"{study.symbol} = {study.meaning}" if study.meaning != study.symbol else study.symbol


def _what(study: Study) -> str:
    """What the errors are of, in words."""
    table, _, column = study.quantity.partition(".")
    if study.quantity == "l2":
        return "error of the density in L2"
    if column == "moments":
        return f"error of mean and covariance ({table})"
    return study.quantity if table == "compare" else f"error of {study.quantity}"


def _against(study: Study) -> str:
    """What the errors are relative to, in words."""
    if study.finest is None:
        return "a distance" if study.reference == "zero" else f"against the {study.reference}"
    return f"against the {study.reference}, {study.key} = {spell(study.finest)}"


def _why_no_order(study: Study) -> str:
    if not study.symbol:
        return f"{study.key} is not a size of which errors are a power"
    count = sum(row.error > 0 for row in study.rows)
    if count < 2:
        there_are = "there is one" if count == 1 else "there are none"
        return f"there must be at least two runs with an error, {there_are}"
    return f"no power of {study.symbol} fits the errors"


def write_csv(study: Study, file: Path) -> None:
    """Write a row a run; numbers with all their digits, nan as an empty field."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([study.key, *_COLUMNS])
        for row in study.rows:
            fields = (_field(getattr(row, name)) for name in _COLUMNS)
            writer.writerow([spell(row.value), *fields])


def _field(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else repr(float(value))


def draw(study: Study) -> Any:
    """Draw the errors, doubly logarithmic, and the fitted law, dashed, as a figure of matplotlib.

    Args:
        study: One without an order is drawn against its values, side by side.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    panel = figure.subplots()
    drawn = [row for row in study.rows if row.error > 0]
    errors = [row.error for row in drawn]
    if errors:
        panel.set_yscale("log")
    if study.symbol and all(0 < row.size < math.inf for row in drawn):
        _draw_sizes(panel, study, np.array([row.size for row in drawn]), errors)
    else:
        panel.plot([spell(row.value) for row in drawn], errors, "o", color=_ERROR)
        panel.set_xlabel(study.key)
    panel.set_ylabel(_what(study))
    panel.set_title(study.title, fontsize=11, loc="left", pad=20, wrap=True, parse_math=False)
    panel.annotate(
        _against(study), (0, 1), xytext=(0, 6), xycoords="axes fraction",
        textcoords="offset points", fontsize=8, color="#777", parse_math=False,
    )  # fmt: skip
    panel.grid(True, which="major", color="#eee")
    return figure


def _draw_sizes(panel: Any, study: Study, sizes: Array, errors: list[float]) -> None:
    from matplotlib.ticker import NullLocator

    panel.plot(sizes, errors, "o-", color=_ERROR, lw=1.2, ms=6)
    panel.set_xlabel(re.sub(r"2\^-\w+\.(\w+)", r"$2^{-\\mathrm{\1}}$", _size(study)))
    if not errors:
        return
    panel.set_xscale("log")
    if study.fit is not None:
        line = np.geomspace(sizes.min(), sizes.max(), 100)
        label = f"order {study.order:.2f} in {study.symbol}" + _spread(study, "\n")
        if study.doubts:
            label = f"doubtful {label}"
        panel.plot(line, study.fit.law(line), "--", color=_LAW, lw=1.4, label=label)
        panel.legend(frameon=False)
    labels = [_tick(size) for size in sizes]
    gaps = np.abs(np.diff(np.log(sizes)))
    room = _SMALLEST_GAP * (1.5 if any("times" in label for label in labels) else 1.0)
    if len(sizes) == 1 or gaps.min() >= room * gaps.sum():
        panel.set_xticks(sizes, labels)
        panel.xaxis.set_minor_locator(NullLocator())


def _tick(size: float) -> str:
    """Three digits of a size; powers of ten below a thousandth and from ten thousand on."""
    digits, _, exponent = f"{size:.2e}".partition("e")
    if -3 <= int(exponent) < 4:
        return f"{size:.3g}"
    digits = f"{float(digits):g}"
    factor = "" if digits == "1" else rf"{digits} \times "
    return f"${factor}10^{{{int(exponent)}}}$"
