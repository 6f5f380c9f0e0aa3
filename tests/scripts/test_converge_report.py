"""The picture of ``meanformer converge``: legible for any study."""

import math
from dataclasses import replace

import numpy as np
import pytest

from meanformer.scripts.converge_report import draw
from meanformer.simulation.studies.orders import fit_order, order_between
from meanformer.simulation.studies.study import Row, Study

pytest.importorskip("matplotlib")


def study(sizes, errors, symbol="h", meaning="2^-pde.refinement", title="Two caps on the sphere"):
    orders = [math.nan]
    orders += [order_between(sizes[i : i + 2], errors[i : i + 2]) for i in range(len(sizes) - 1)]
    rows = tuple(
        Row(number, size, error, order, 1.0, "done")
        for number, (size, error, order) in enumerate(zip(sizes, errors, orders, strict=True))
    )
    fit = fit_order(sizes, errors, 0.0, 1)
    key, reference = "pde.refinement", "exact solution"
    return Study(title, key, "l2", reference, None, symbol, meaning, rows, fit)


def panel_of(one):
    """The panel, drawn, and a function to the box that a text fills."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(one)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (panel,) = figure.axes
    return panel, lambda text: text.get_window_extent(canvas.get_renderer())


def clear_of_each_other(boxes):
    return all(not a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


SIZES = {
    "refinements": 2.0 ** -np.arange(1, 9),
    "two": [0.5, 0.25],
    "one": [0.5],
    "near": [1 / 1000, 1 / 1100, 1 / 1200, 1 / 1300],
    "halves": 1e-4 / 2.0 ** np.arange(8),
    "four halves": 1e-4 / 2.0 ** np.arange(4),
    "far": [1e-2, 1e-3, 1e-4, 1e-5, 1e-6],
    "uneven": [1e-2, 0.9e-2, 1e-5],
    "many": 1 / np.linspace(100, 5000, 15),
}


@pytest.mark.parametrize("name", SIZES)
def test_labels_do_not_overlap(name):
    sizes = np.array(SIZES[name])
    panel, box = panel_of(study(sizes, 0.3 * sizes**2.5))
    width, height = panel.figure.canvas.get_width_height()
    ticks = [*panel.get_xticklabels(), *panel.get_xticklabels(minor=True)]
    low, high = panel.get_xlim()
    shown = [t for t in ticks if t.get_text() and low <= t.get_position()[0] <= high]
    assert shown
    texts = [*shown, panel.xaxis.label, panel.yaxis.label]
    texts += [panel.title, panel._left_title, *panel.texts]
    boxes = [box(text) for text in texts if text.get_text()]
    assert clear_of_each_other(boxes)
    for each in boxes:
        assert each.x0 >= 0 and each.y0 >= 0 and each.x1 <= width and each.y1 <= height


def test_powers_are_written_as_powers():
    panel, _ = panel_of(study([1e-4, 1e-5], [1e-2, 1e-3], "1/n", "1/particles.number"))
    assert [t.get_text() for t in panel.get_xticklabels()] == ["$10^{-4}$", "$10^{-5}$"]
    panel, _ = panel_of(study([2.5e-5, 1e-5], [1e-2, 1e-3], "1/n", "1/particles.number"))
    assert panel.get_xticklabels()[0].get_text() == r"$2.5 \times 10^{-5}$"
    panel, _ = panel_of(study([0.25, 1 / 64, 0.001], [1e-2, 1e-3, 1e-4]))
    assert [t.get_text() for t in panel.get_xticklabels()] == ["0.25", "0.0156", "0.001"]
    assert panel.get_xlabel() == r"h = $2^{-\mathrm{refinement}}$"


def test_the_legend_says_how_far_to_trust_the_order():
    panel, _ = panel_of(study([0.5, 0.25, 0.125], [1e-3, 1e-5, 1e-6]))
    (text,) = panel.get_legend().get_texts()
    first, second = text.get_text().splitlines()
    assert first.startswith("order 4.98 in h")
    assert second == "3.32 to 6.64 between neighbours"


def test_the_legend_says_that_an_order_is_doubtful():
    doubted = replace(study([0.5, 0.25], [1e-2, 1e-5]), doubts=("it is above 4",))
    panel, _ = panel_of(doubted)
    assert panel.get_legend().get_texts()[0].get_text().startswith("doubtful order 9.97 in h")


def test_a_long_title_is_whole_and_takes_no_mathematics():
    title = "What $5 buys: " + "a study of how the density converges on the sphere, " * 3
    panel, box = panel_of(study([0.5, 0.25], [1e-2, 1e-3], title=title))
    width, height = panel.figure.canvas.get_width_height()
    extent = box(panel._left_title)
    assert extent.x1 <= width and extent.y1 <= height
