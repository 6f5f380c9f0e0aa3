"""Pictures and movies of a figure: panels of its samples on one sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meanformer.scripts.reproduce.figure import Figure
from meanformer.scripts.reproduce.recording import Recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Sheet

_PICTURE_DPI, _MOVIE_DPI, _FRAMES_A_SECOND = 150, 100, 12
# The movie rests at its end for so many frames.
_REST = 10
_ACROSS = 4
# Of a panel of a picture, and of a movie, in inches.
_SIDE, _MOVIE_SIDE = 2.7, 4.0
_STYLE: Any = {"grid.color": "#e4e4e4", "grid.linewidth": 0.5}


def draw_picture(figure: Figure, recording: Recording) -> Sheet:
    """Draw the samples that the figure shows, and what changes with time, side by side."""
    count = len(figure.shown) + figure.has_history
    across = count if count <= _ACROSS else -(-count // 2)
    down = -(-count // across)
    sheet, axes = _sheet(figure, across, down, count, _SIDE)
    samples = [recording.sample_at(time) for time in figure.shown]
    for panel, sample in zip(axes, samples, strict=False):
        _draw(figure, panel, recording, sample)
    if figure.has_history:
        figure.draw_history(axes[-1], recording, len(recording.times) - 1)
    return sheet


def save_picture(figure: Figure, recording: Recording, file: Path) -> None:
    """Write the picture.

    Raises:
        OSError: If it cannot be written.
    """
    from matplotlib import rc_context

    with rc_context(_STYLE):
        draw_picture(figure, recording).savefig(
            file, dpi=_PICTURE_DPI, pil_kwargs={"optimize": True}
        )


def save_movie(figure: Figure, recording: Recording, file: Path) -> None:
    """Write one panel over time, and what changes with it, as an animated GIF.

    Raises:
        OSError: If it cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.animation import PillowWriter

    frames = figure.frames(recording)
    across = 1 + figure.has_history
    with rc_context(_STYLE):
        sheet, axes = _sheet(figure, across, 1, across, _MOVIE_SIDE)
        writer = PillowWriter(fps=_FRAMES_A_SECOND)
        with writer.saving(sheet, str(file), _MOVIE_DPI):
            for sample in [*frames, *frames[-1:] * _REST]:
                for panel in axes:
                    panel.clear()
                _draw(figure, axes[0], recording, sample)
                if figure.has_history:
                    figure.draw_history(axes[1], recording, sample)
                if sheet.get_layout_engine() is not None:  # once: panels shall not move
                    sheet.draw_without_rendering()
                    sheet.set_layout_engine("none")
                writer.grab_frame()


def _sheet(
    figure: Figure, across: int, down: int, count: int, side: float
) -> tuple[Sheet, list[Any]]:
    """A sheet with a title, and its first panels."""
    from matplotlib.figure import Figure as NewSheet

    sheet = NewSheet(figsize=(side * across, (side + 0.3) * down), layout="constrained")
    if figure.is_solid:  # the label of the third axis reaches beyond its panel
        sheet.set_layout_engine("constrained", rect=(0, 0, 0.97, 1))
    sheet.suptitle(figure.title, fontsize=10)
    projection = "3d" if figure.is_solid else None
    places = range(1, count + 1)
    return sheet, [sheet.add_subplot(down, across, k, projection=projection) for k in places]


def _draw(figure: Figure, panel: Any, recording: Recording, sample: int) -> None:
    """Draw a sample under its time."""
    figure.draw(panel, recording, sample)
    panel.set_title(f"t = {recording.times[sample]:.3g}", fontsize=9, pad=3)
    panel.tick_params(labelsize=7)
