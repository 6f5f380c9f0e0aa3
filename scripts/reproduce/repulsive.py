"""V = -I: tokens go to the origin (arXiv 2305.05465, section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meanformer.arrays import Array
from meanformer.scripts.reproduce.drawing import (
    draw_curves,
    draw_tokens,
    hues,
    label_axes,
    set_limits,
)
from meanformer.scripts.reproduce.figure import Figure
from meanformer.scripts.reproduce.recording import Recording
from meanformer.theory import Deviation

_LIMIT = 0.5
_FRAMES = 70


@dataclass(frozen=True, kw_only=True)
class Repulsive(Figure):
    """Tokens x of the plane, V = -I, Q = K = I."""

    claim = (
        "V = -I, Q^T K = I: all x_i tend to 0, and the sum of e^<x_i, x_j> decreases; like "
        "t^{-1/2}, for t Cov tends to I/2 as that of a normal distribution does"
    )
    rescaled = False
    has_history = True

    def matrices(self, seed: int) -> dict[str, Any]:
        """V."""
        return {"value": -1.0}

    def checks(self, recording: Recording) -> list[Deviation]:
        """How far t Cov is from I/2 at the end, and whether the sum decreases from the start."""
        last = recording.times[-1] * np.cov(recording.last.T, bias=True)
        off = np.abs(last - _LIMIT * np.eye(len(last))).max()
        sums = [np.exp(points @ points.T).sum() for points in recording.positions]
        rises = int(np.count_nonzero(np.diff(sums) > 0))
        return [
            Deviation("|t Cov - I/2| at the end, over 1/2", off / _LIMIT, 0.02),
            Deviation("samples at which the sum of e^<x_i, x_j> has risen", rises, 0),
        ]

    def draw(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw tokens in fixed axes."""
        draw_tokens(axes, recording, sample, hues(recording.positions[0]))
        set_limits(axes, recording.positions)
        label_axes(axes, "x", self.dimension)

    def draw_history(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw the eigenvalues of t Cov."""
        times, positions = recording.times[1:], recording.positions[1:]
        found = _eigenvalues(times, positions)
        names = ("largest", "smallest")
        curves = dict(zip(names, found.T[::-1], strict=False))
        draw_curves(axes, times, curves, max(sample - 1, 0))
        axes.axhline(_LIMIT, color="#888", lw=0.8, ls="--")
        axes.set_xscale("log")
        axes.set_ylabel("eigenvalues of t Cov", fontsize=8, labelpad=1)

    def frames(self, recording: Recording) -> list[int]:
        """Samples at geometric times: most happens early."""
        last = len(recording.times) - 1
        return [0, *np.unique(np.geomspace(1, last, _FRAMES).round().astype(int)).tolist()]


def _eigenvalues(times: Array, positions: Array) -> Array:
    """Of t Cov, rising, ``shape=(s, d)``."""
    centred = positions - positions.mean(axis=1, keepdims=True)
    covariances = np.einsum("sni,snj->sij", centred, centred) / positions.shape[1]
    found: Array = np.linalg.eigvalsh(times[:, None, None] * covariances)
    return found
