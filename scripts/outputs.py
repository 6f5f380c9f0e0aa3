"""What the verbs write: on a terminal, and to files that are checked before hours of work."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from meanformer.simulation import CaseError


def check_files(**files: Path | None) -> None:
    """Check that the files that options ask for can be written.

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
        raise CaseError(problems, "command line")


def _picture_problems(file: Path) -> list[str]:
    if find_spec("matplotlib") is None:
        return ['--plot: matplotlib is not installed; pip install "meanformer[docs]"']
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
