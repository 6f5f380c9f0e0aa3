"""What the verbs share: options, refusals, and where they write."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from meanformer.simulation import CaseError


def add_case(parser: argparse.ArgumentParser) -> None:
    """Add the case and ``--set``, which changes it."""
    parser.add_argument("case", type=Path, metavar="CASE", help="a case file (TOML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="change a key of the case; may be repeated",
    )


def refusal(*problems: str) -> CaseError:
    """The error that says what is wrong with the command line."""
    return CaseError(problems, "command line")


def check_files(**files: Path | None) -> None:
    """Check that the files that options ask for can be written, before hours of work.

    Args:
        files: The file of each option, or None; that of ``plot`` is a picture.

    Raises:
        CaseError: If one cannot.
    """
    problems = [
        f"--{name}: {file} is not a file in a folder that exists"
        for name, file in files.items()
        if file and (file.is_dir() or not file.resolve().parent.is_dir())
    ]
    if picture := files.get("plot"):
        problems += _picture_problems(picture)
    if problems:
        raise refusal(*problems)


def why_no_pictures() -> str:
    """What to install before anything can be drawn; empty if all is there."""
    if find_spec("matplotlib") is None:
        return 'matplotlib is not installed; pip install "meanformer[docs]"'
    return ""


def _picture_problems(file: Path) -> list[str]:
    if problem := why_no_pictures():
        return [f"--plot: {problem}"]
    from matplotlib.figure import Figure

    allowed = sorted(Figure().canvas.get_supported_filetypes())
    if file.suffix[1:].lower() in allowed:
        return []
    return [f"--plot: {file} has no ending of a picture; allowed: {', '.join(allowed)}"]


def wide_console(width: int) -> Console:
    """The terminal, or one that is wider, if it has fewer columns than ``width``.

    Whole lines can be read in a file, and in a narrow terminal better than broken words.
    """
    console = Console(highlight=False)
    return console if console.width >= width else Console(highlight=False, width=width)
