"""Random Q, K and V: the attention matrix loses its rank (arXiv 2305.05465, numerical part)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meanformer.scripts.reproduce.drawing import draw_matrix, draw_rank
from meanformer.scripts.reproduce.figure import Figure
from meanformer.scripts.reproduce.recording import Recording
from meanformer.theory import Deviation, numerical_rank

_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class LowRank(Figure):
    """The attention matrix P of tokens in many dimensions, entries of Q, K and V N(0, 1/d)."""

    claim = "Q, K, V random, any dimension: the rank of P(t) falls (seen, no theorem says so)"
    rescaled = False
    has_matrix = True
    has_history = True

    def matrices(self, seed: int) -> dict[str, Any]:
        """Q, K and V, whose spectra fill discs of radius 1."""
        shape = (3, self.dimension, self.dimension)
        drawn = np.random.default_rng(seed).normal(size=shape) / np.sqrt(self.dimension)
        return dict(zip(("query", "key", "value"), drawn, strict=True))

    def checks(self, recording: Recording) -> list[Deviation]:
        """The rank at the end."""
        first, last = (numerical_rank(recording.matrices[sample]) for sample in (0, -1))
        what = f"rank of P at the end over that at the start, which was {first}"
        return [Deviation(what, last / first, _SHARE)]

    def draw(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw P, tokens in any order."""
        draw_matrix(axes, recording.matrices[sample], np.arange(self.number))

    def draw_history(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw the rank of P, and how many rows are Boolean."""
        draw_rank(axes, recording, sample)
