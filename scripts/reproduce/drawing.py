"""What panels are made of: tokens with their paths, hulls, heat maps, and curves over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import ConvexHull

from meanformer.arrays import Array, Indices
from meanformer.scripts.reproduce.recording import Recording
from meanformer.theory import Hull, boolean_rows, clusters, numerical_rank

_INK, _ACCENT, _GREY = "#333", "#b5482f", "#888"
_SHADE, _PLANE = "#d9a441", "#d9829b"
# Tokens are in one place up to this share of the largest distance from their mean.
_ONE_PLACE = 1e-3
_MARGIN = 0.06
# Where panels of three dimensions are seen from: elevation and azimuth, in degrees; and how near.
_ELEVATION, _AZIMUTH, _ZOOM = 20, -52, 0.97


def hues(points: Array) -> Array:
    """A colour for each token, by the angle at which it starts, ``shape=(n, 3)``."""
    from matplotlib.colors import hsv_to_rgb

    x, y = (points - points.mean(axis=0))[:, :2].T
    turns = np.arctan2(y, x) / (2 * np.pi) % 1
    ones = np.ones(len(points))
    return hsv_to_rgb(np.stack([turns, 0.75 * ones, 0.82 * ones], axis=1))


def draw_tokens(axes: Any, recording: Recording, sample: int, colours: Any) -> None:
    """Draw tokens with the paths that they have come."""
    from matplotlib.collections import LineCollection
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    paths: Any = recording.positions[: sample + 1].swapaxes(0, 1)
    is_solid = paths.shape[2] == 3
    kind, solid = (Line3DCollection, {"depthshade": False}) if is_solid else (LineCollection, {})
    axes.add_collection(kind(paths, colors=colours, lw=0.7, alpha=0.45, zorder=2))
    axes.scatter(
        *paths[:, -1].T, c=colours, s=16, edgecolors="white", linewidths=0.4, zorder=3, **solid
    )


def draw_marks(axes: Any, points: Array) -> None:
    """Draw rings about points of the plane."""
    axes.scatter(*points.T, s=70, facecolors="none", edgecolors=_INK, linewidths=1.1, zorder=4)


def set_limits(axes: Any, positions: Array, equal: bool = True) -> None:
    """Make room for all positions, ``shape=(..., d)``.

    Lengths are the same along all axes, or each axis has its own.
    """
    d = positions.shape[-1]
    low, high = (np.asarray(f(positions.reshape(-1, d), axis=0)) for f in (np.min, np.max))
    middle, half = (low + high) / 2, (1 + 2 * _MARGIN) * (high - low) / 2
    if equal:
        half = np.full(d, half.max())
    for name, centre, reach in zip("xyz", middle, half, strict=False):
        getattr(axes, f"set_{name}lim")(centre - reach, centre + reach)
        getattr(axes, f"{name}axis").set_major_locator(_few_ticks())
    if d == 3:
        axes.view_init(_ELEVATION, _AZIMUTH)
        axes.set_box_aspect((1, 1, 1), zoom=_ZOOM)
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.set_pane_color((1, 1, 1, 0))
        axes.patch.set_visible(False)  # it would cover the label of the panel to the left
    else:
        axes.set_aspect("equal", adjustable="box")


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, steps=[1, 2, 5, 10])


def label_axes(axes: Any, letter: str, dimension: int) -> None:
    """Name the coordinates."""
    for number, name in zip(range(1, dimension + 1), "xyz", strict=False):
        label = getattr(axes, f"set_{name}label")
        label(f"${letter}_{number}$", fontsize=8, labelpad=-7 if dimension == 3 else 1)
    if dimension == 3:
        axes.tick_params(pad=-3)
        axes.zaxis.set_tick_params(pad=0)
        axes.zaxis.set_rotate_label(False)
        axes.zaxis.labelpad = -6


def draw_outline(axes: Any, points: Array) -> None:
    """Draw the edges of the convex hull of points of the plane, unless it is flat."""
    corners = points[_corners(points)]
    axes.fill(*corners.T, facecolor="none", edgecolor=_GREY, lw=0.7, ls="--", zorder=1)


def draw_hull(axes: Any, points: Array) -> None:
    """Shade the convex hull of points of the plane or of space, unless it is flat.

    Points that are nearly in one place are one.
    """
    reach = np.linalg.norm(points - points.mean(axis=0), axis=1).max()
    places = clusters(points, _ONE_PLACE * reach).centres
    if points.shape[1] == 2:
        around = places[_corners(places)]
        axes.fill(*around.T, facecolor=_SHADE, edgecolor=_SHADE, alpha=0.3, zorder=0)
    elif Hull(places).dimension == 3:
        _add_faces(axes, places[ConvexHull(places).simplices], _SHADE, 0.12)


def _corners(points: Array) -> Indices:
    """Which points of the plane are corners of their hull, going round; none if it is flat."""
    if Hull(points).dimension < 2:
        return np.empty(0, np.int64)
    return ConvexHull(points).vertices


def draw_matrix(axes: Any, matrix: Array, order: Indices) -> None:
    """Draw a matrix of entries from 0 to 1, rows and columns in an order of the tokens."""
    from matplotlib.colors import PowerNorm

    shown = matrix[np.ix_(order, order)]
    # The square root tells small entries from 0.
    axes.imshow(shown, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    ticks, names = [0, len(matrix) - 1], ["1", str(len(matrix))]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.set_xlabel("attends to token", fontsize=8, labelpad=-6)
    axes.set_ylabel("token", fontsize=8, labelpad=-10)


def draw_rank(axes: Any, recording: Recording, sample: int) -> None:
    """Draw the rank of P over time, and how many of its rows are Boolean."""
    ranks = np.array([numerical_rank(matrix) for matrix in recording.matrices])
    rows = np.array([np.count_nonzero(boolean_rows(matrix)) for matrix in recording.matrices])
    draw_curves(axes, recording.times, {"rank of P": ranks, "Boolean rows": rows}, sample)
    axes.set_ylim(0, 1.08 * ranks.max(initial=rows.max()))


def draw_curves(axes: Any, times: Array, values: dict[str, Array], sample: int) -> None:
    """Draw curves over time up to the end, and mark a sample on each."""
    for (name, curve), colour in zip(values.items(), (_INK, _ACCENT), strict=False):
        axes.plot(times, curve, color=colour, lw=1.2, label=name)
        axes.plot(times[sample], curve[sample], "o", color=colour, ms=4)
    axes.set_xlabel("t", fontsize=8, labelpad=1)
    axes.tick_params(labelsize=7)
    axes.grid(True, color="#eee")
    axes.set_box_aspect(1)
    above = {"loc": "lower left", "bbox_to_anchor": (-0.02, 0.99), "ncols": len(values)}
    axes.legend(fontsize=8, frameon=False, borderpad=0.2, columnspacing=1.2, **above)


def draw_hyperplane(axes: Any, normal: Array, height: float) -> None:
    """Draw where <normal, z> is a height, a line or a plane, within the limits of the axes."""
    low, high = np.array([getattr(axes, f"get_{name}lim")() for name in "xyz"[: len(normal)]]).T
    middle, reach = (low + high) / 2, (high - low).max() / 2
    foot = middle + (height - normal @ middle) * normal / (normal @ normal)
    _, _, rows = np.linalg.svd(normal[None])
    along = reach * rows[1:]
    if len(normal) == 2:
        ends = foot + np.outer([-2, 2], along[0])
        axes.plot(*ends.T, color=_GREY, lw=0.9, ls="--", scalex=False, scaley=False, zorder=1)
        return
    corners = foot + 0.9 * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) @ along
    _add_faces(axes, [corners], _PLANE, 0.15)


def draw_prism(axes: Any, points: Array, heights: Array) -> None:
    """Shade the sides of a polygon over a range of heights.

    The polygon is the hull of points of the plane; there are no sides if it is flat.
    """
    corners = points[_corners(points)]
    low, high = float(heights.min()), float(heights.max())
    sides = [
        [(*first, low), (*second, low), (*second, high), (*first, high)]
        for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True)
    ]
    _add_faces(axes, sides, _SHADE, 0.12)


def _add_faces(axes: Any, faces: Any, colour: str, alpha: float) -> None:
    """Add polygons of space, pale, with clear edges."""
    from matplotlib.colors import to_rgba
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    inside, edge = to_rgba(colour, alpha), to_rgba(colour, 0.6)
    axes.add_collection3d(Poly3DCollection(faces, facecolor=inside, edgecolor=edge, lw=0.5))
