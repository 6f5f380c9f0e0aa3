"""The gallery shows every figure that ``meanformer reproduce`` knows."""

import re
from pathlib import Path

import pytest

import meanformer
from meanformer.scripts.reproduce.figures import DIAGRAMS, FIGURES

ALL = FIGURES | DIAGRAMS
DOCS = Path(meanformer.__file__).resolve().parent / "docs"
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")


def test_every_figure_has_a_row_and_no_other():
    assert re.findall(r"^\| `([\w-]+)` \| ", PAGE, re.MULTILINE) == list(ALL)


def test_every_figure_has_a_command_and_no_other():
    named = re.findall(r"^`meanformer reproduce ([\w-]+)`", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_figure_has_a_small_picture(name):
    assert f"](pictures/gallery/{name}.png)" in PAGE
    assert 0 < (DOCS / f"pictures/gallery/{name}.png").stat().st_size < 150_000


def test_there_is_no_other_picture():
    assert {path.stem for path in (DOCS / "pictures/gallery").iterdir()} == set(ALL)
