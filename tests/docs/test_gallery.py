"""The gallery shows every figure that ``meanformer reproduce`` knows."""

import re
from pathlib import Path

import pytest

import meanformer
from meanformer.scripts.reproduce.figures import FIGURES

DOCS = Path(meanformer.__file__).resolve().parent / "docs"
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")


def test_every_figure_has_a_row_and_no_other():
    assert re.findall(r"^\| `([\w-]+)` \| ", PAGE, re.MULTILINE) == list(FIGURES)


def test_every_figure_has_a_command_and_no_other():
    named = re.findall(r"^`meanformer reproduce ([\w-]+)`", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_small_picture(name):
    assert f"](pictures/gallery/{name}.png)" in PAGE
    assert 0 < (DOCS / f"pictures/gallery/{name}.png").stat().st_size < 150_000


def test_there_is_no_other_picture():
    assert {path.stem for path in (DOCS / "pictures/gallery").iterdir()} == set(FIGURES)
