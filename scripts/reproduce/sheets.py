"""Pictures and movies of a figure: panels of its samples on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from meanformer.scripts.reproduce.figure import Figure
from meanformer.scripts.reproduce.recording import Recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Sheet
    from PIL.Image import Image

#: Three numbers from 0 to 255 for each pixel, ``shape=(height, width, 3)``.
Pixels = npt.NDArray[np.uint8]

_PICTURE_DPI, _MOVIE_DPI = 150, 100
# Of a frame of a movie, and of the last, in milliseconds.
_FRAME, _REST = 80, 1500
_ACROSS = 4
# Of a panel of a picture, and of a movie, in inches.
_SIDE, _MOVIE_SIDE = 2.7, 4.0


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
    (image,) = _images([_pixels(draw_picture(figure, recording), _PICTURE_DPI)])
    image.save(file, optimize=True)


def save_movie(figure: Figure, recording: Recording, file: Path) -> None:
    """Write one panel over time, and what changes with it, as an animated GIF.

    Raises:
        OSError: If it cannot be written.
    """
    across = 1 + figure.has_history
    sheet, axes = _sheet(figure, across, 1, across, _MOVIE_SIDE)
    frames = []
    for sample in figure.frames(recording):
        for panel in axes:
            panel.clear()
        _draw(figure, axes[0], recording, sample)
        if figure.has_history:
            figure.draw_history(axes[1], recording, sample)
        frames.append(_pixels(sheet, _MOVIE_DPI))
        sheet.set_layout_engine("none")  # panels shall not move
    first, *others = _images(frames)
    durations = [_FRAME] * len(others) + [_REST]
    first.save(file, save_all=True, append_images=others, duration=durations, loop=0)


def _pixels(sheet: Sheet, dpi: int) -> Pixels:
    """A sheet as red, green and blue, ``shape=(height, width, 3)``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    sheet.set_dpi(dpi)
    canvas = FigureCanvasAgg(sheet)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _images(frames: Sequence[Pixels]) -> list[Image]:
    """Frames of one size in the same 256 colours: rare ones are not lost, and white is white."""
    from PIL import Image as images

    some = images.fromarray(np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]]))
    found = some.quantize(method=images.Quantize.MAXCOVERAGE, kmeans=1).getpalette()
    palette = np.reshape(found or [], (-1, 3))
    palette[palette.sum(axis=1).argmax()] = 255
    tree = cKDTree(palette)

    def indexed(frame: Pixels) -> Image:
        # Pillow itself takes a colour that is near the nearest.
        codes, where = np.unique(frame @ np.array([1 << 16, 1 << 8, 1]), return_inverse=True)
        colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
        nearest = tree.query(colours)[1].astype(np.uint8)
        image = images.fromarray(nearest[where].reshape(frame.shape[:2]))
        image.putpalette(palette.ravel().tolist())
        return image

    return [indexed(frame) for frame in frames]


def _sheet(
    figure: Figure, across: int, down: int, count: int, side: float
) -> tuple[Sheet, list[Any]]:
    """A sheet with a title, and its first panels."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as NewSheet

    sheet = NewSheet(figsize=(side * across, (side + 0.4) * down), layout="constrained")
    if figure.is_solid:  # the label of the third axis reaches beyond its panel
        sheet.set_layout_engine("constrained", rect=(0, 0, 0.97, 1))
    sheet.suptitle(figure.title, fontsize=10)
    projection = "3d" if figure.is_solid else None
    places = range(1, count + 1)
    with rc_context(
        {"grid.color": "#e4e4e4", "grid.linewidth": 0.5}
    ):  # axes of space take no other
        return sheet, [sheet.add_subplot(down, across, k, projection=projection) for k in places]


def _draw(figure: Figure, panel: Any, recording: Recording, sample: int) -> None:
    """Draw a sample under its time."""
    figure.draw(panel, recording, sample)
    panel.set_title(f"t = {recording.times[sample]:.3g}", fontsize=9, pad=3)
    panel.tick_params(labelsize=7)
