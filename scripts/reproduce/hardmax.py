"""Hardmax attention in layers: tokens go to leaders (arXiv 2407.01602)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from meanformer.arrays import Array
from meanformer.scripts.reproduce.drawing import (
    draw_hull,
    draw_marks,
    draw_tokens,
    hues,
    label_axes,
    set_limits,
)
from meanformer.scripts.reproduce.figure import Figure, ratio
from meanformer.scripts.reproduce.recording import Recording
from meanformer.theory import Deviation

# Tokens that are in one place up to the tolerance of ties are averaged.
_FIXED, _NEAR = 1e-9, 1e-3


@dataclass(frozen=True, kw_only=True)
class Hardmax(Figure):
    """Layers x_i <- x_i + alpha/(1+alpha) mean_{j in C_i} (x_j - x_i), one a sample.

    C_i are the maximisers of <A x_i, x_j>, and leaders the tokens whose only one is themselves.

    Attributes:
        matrix: A, symmetric and positive definite.
        alpha: Positive.
    """

    claim = (
        "A symmetric and positive definite: leaders never move, <x_i, A x_i> never falls, and "
        "every token tends to a leader or to a point of a face of the leaders' hull (2407.01602)"
    )
    rescaled = False

    matrix: Sequence[Sequence[float]]
    alpha: float

    def matrices(self, seed: int) -> dict[str, Any]:
        """The law, and A as Q."""
        return {"law": "hardmax", "query": self.matrix, "relative": True}

    def tables(self, name: str, seed: int) -> dict[str, Any]:
        """Layers, and a sample of each."""
        tables = super().tables(name, seed)
        layer = self.alpha / (1 + self.alpha)
        return tables | {
            "particles": tables["particles"] | {"integrator": "layers"},
            "time": {"end": self.end, "step": layer, "sample_every": layer},
        }

    def checks(self, recording: Recording) -> list[Deviation]:
        """How far leaders move, <x_i, A x_i> falls, and tokens are from leaders at the end."""
        moved = fall = 0.0
        for before, after in pairwise(recording.positions):
            moves = np.linalg.norm(after - before, axis=1)
            moved = max(moved, moves[self.leaders(before)].max(initial=0.0))
            fall = max(fall, (self._sizes(before) - self._sizes(after)).max())
        last = recording.last
        reach = float(np.linalg.norm(last - last.mean(axis=0), axis=1).max())
        away = cdist(last, last[self.leaders(last)]).min(axis=1, initial=np.inf).max()
        largest = float(self._sizes(last).max())
        return [
            Deviation("largest move of a leader in a layer", ratio(moved, reach), _FIXED),
            Deviation("largest fall of <x_i, A x_i> in a layer", ratio(fall, largest), _FIXED),
            Deviation(
                "largest distance of a token from the nearest leader", ratio(away, reach), _NEAR
            ),
        ]

    def draw(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw tokens with their paths, the leaders among them, and the hull of the end."""
        points = recording.positions[sample]
        draw_hull(axes, recording.last)
        draw_tokens(axes, recording, sample, hues(recording.positions[0]))
        draw_marks(axes, points[self.leaders(points)])
        set_limits(axes, recording.positions)
        label_axes(axes, "x", self.dimension)

    def leaders(self, points: Array) -> npt.NDArray[np.bool_]:
        """Which tokens have the largest <A x_i, x_j> with themselves, ``shape=(n,)``."""
        logits = points @ np.array(self.matrix) @ points.T
        leading: npt.NDArray[np.bool_] = logits.argmax(axis=1) == np.arange(len(points))
        return leading

    def _sizes(self, points: Array) -> Array:
        """<x_i, A x_i>, ``shape=(n,)``."""
        sizes: Array = np.einsum("ni,ij,nj->n", points, np.array(self.matrix), points)
        return sizes
