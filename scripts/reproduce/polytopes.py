"""V is the identity, or is on a subspace: a polytope emerges (arXiv 2305.05465, sections 3, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from meanformer.arrays import Array
from meanformer.scripts.reproduce.drawing import (
    draw_hull,
    draw_outline,
    draw_prism,
    draw_tokens,
    hues,
    label_axes,
    set_limits,
)
from meanformer.scripts.reproduce.figure import Figure, ratio
from meanformer.scripts.reproduce.recording import Recording
from meanformer.theory import Deviation, Hull

_NEAR, _NESTED = 1e-2, 1e-5


@dataclass(frozen=True, kw_only=True)
class Polytope(Figure):
    """The hulls of tokens z = e^{-t} x, V = Q = K = I."""

    claim = (
        "V = I, Q^T K > 0: the hulls of z are nested and tend to a convex polytope, and every z_i "
        "tends to its boundary, or to 0 (section 3)"
    )

    @property
    def is_solid(self) -> bool:
        """Whether tokens are of space."""
        return self.dimension == 3

    def matrices(self, seed: int) -> dict[str, Any]:
        """All of them are the identity."""
        return {}

    def checks(self, recording: Recording) -> list[Deviation]:
        """How far hulls are from being nested, and tokens at the end from where they should be."""
        return hull_checks(recording.positions)

    def draw(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw tokens, in the plane their hull, and that of the end."""
        if not self.is_solid:
            draw_outline(axes, recording.positions[sample])
        draw_hull(axes, recording.last)
        draw_tokens(axes, recording, sample, hues(recording.positions[0]))
        set_limits(axes, recording.positions)
        label_axes(axes, "z", self.dimension)


@dataclass(frozen=True, kw_only=True)
class Prism(Figure):
    """Tokens z = e^{-tV} x for a diagonal V that is the identity on a plane, and smaller off it."""

    claim = (
        "Q^T K > 0, V = lambda I on a subspace F and of a smaller spectral radius on an invariant "
        "complement G: z_i tends to the boundary of a convex polytope in F, times G (section 5)"
    )

    diagonal: Sequence[float]

    @property
    def is_solid(self) -> bool:
        """Tokens are of space."""
        return True

    def matrices(self, seed: int) -> dict[str, Any]:
        """V."""
        return {"value": np.diag(self.diagonal)}

    def checks(self, recording: Recording) -> list[Deviation]:
        """As for a polytope, for the first two coordinates."""
        return hull_checks(recording.positions[..., :2])

    def draw(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw tokens, and the polytope of the end times the third axis."""
        positions = recording.positions[: sample + 1]
        draw_prism(axes, recording.last[:, :2], recording.positions[..., 2])
        draw_tokens(axes, recording, sample, hues(positions[0]))
        set_limits(axes, recording.positions, equal=False)
        label_axes(axes, "z", 3)


def hull_checks(positions: Array) -> list[Deviation]:
    """How far hulls are from being nested, and tokens at the end from the boundary of the last.

    Lengths are over the largest distance of a token from the mean of all; positions are those of
    all samples, ``shape=(s, n, d)``.
    """
    last = positions[-1]
    beyond = [
        ratio(Hull(before).outside(after).max(), _spread(before))
        for before, after in pairwise(positions)
    ]
    distances = np.minimum(Hull(last).distance_to_boundary(last), np.linalg.norm(last, axis=1))
    return [
        Deviation("largest distance of a token beyond the hull a sample ago", max(beyond), _NESTED),
        Deviation(
            "largest distance of a token at the end from the boundary of the hull, or from 0",
            ratio(distances.max(), _spread(last)),
            _NEAR,
        ),
    ]


def _spread(points: Array) -> float:
    return float(np.linalg.norm(points - points.mean(axis=0), axis=1).max())
