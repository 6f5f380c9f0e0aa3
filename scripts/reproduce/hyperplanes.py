"""V has a simple leading eigenvalue: tokens go to hyperplanes (arXiv 2305.05465, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from meanformer.arrays import Array
from meanformer.scripts.reproduce.drawing import (
    draw_hyperplane,
    draw_tokens,
    label_axes,
    set_limits,
)
from meanformer.scripts.reproduce.figure import Figure
from meanformer.scripts.reproduce.recording import Recording
from meanformer.theory import Clusters, Deviation, clusters, leading, relative_linkage

_COLOURS = ("#0b6e6e", "#c1440e", "#5b4b9a")


@dataclass(frozen=True, kw_only=True)
class Hyperplanes(Figure):
    """Tokens z = e^{-tV} x, Q = K = I."""

    claim = (
        "V has a simple positive eigenvalue larger in modulus than all others, and "
        "<Q phi, K phi> > 0 for its eigenvector: the coordinate of z_i along phi tends to one of "
        "at most three values (section 4)"
    )

    value: Sequence[Sequence[float]]

    @property
    def is_solid(self) -> bool:
        """Whether tokens are of space."""
        return self.dimension == 3

    def matrices(self, seed: int) -> dict[str, Any]:
        """V."""
        return {"value": self.value}

    def checks(self, recording: Recording) -> list[Deviation]:
        """How many values of the leading coordinate there are at the end."""
        what = "values of the leading coordinate, those within 1 % of its range being one"
        return [Deviation(what, self._groups(recording.last).number, 3)]

    def draw(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw tokens, coloured by where they end, and the hyperplanes of the end."""
        set_limits(axes, recording.positions)
        groups = self._groups(recording.last)
        for height in groups.centres[:, 0]:
            draw_hyperplane(axes, self._normal, height)
        colours = [_COLOURS[group % len(_COLOURS)] for group in groups.labels]
        draw_tokens(axes, recording, sample, colours)
        label_axes(axes, "z", self.dimension)

    @property
    def _normal(self) -> Array:
        """The left eigenvector, whose product with z is the leading coordinate."""
        found = leading(np.array(self.value))
        assert found is not None
        return found.left

    def _groups(self, points: Array) -> Clusters:
        """Clusters of the leading coordinate."""
        heights = (points @ self._normal)[:, None]
        length = np.linalg.norm(points, axis=1).max() * np.linalg.norm(self._normal)
        return clusters(heights, relative_linkage(heights, float(length)))
