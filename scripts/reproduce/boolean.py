"""Tokens on the line: the attention matrix becomes Boolean (arXiv 2305.05465, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meanformer.scripts.reproduce.drawing import draw_matrix, draw_rank
from meanformer.scripts.reproduce.figure import Figure
from meanformer.scripts.reproduce.recording import Recording
from meanformer.theory import Deviation, boolean_rows, numerical_rank


@dataclass(frozen=True, kw_only=True)
class Boolean(Figure):
    """The attention matrix P of tokens on the line, V = Q = K = 1."""

    claim = (
        "d = 1, V > 0, QK > 0, distinct tokens: P(t) tends to a matrix of which every row but one "
        "at most is e_a or e_b, with a and b the outermost tokens (section 2)"
    )
    # In d = 1, gaps of x are constant in the end, those of z shrink like e^{-t}.
    rescaled = False
    has_matrix = True
    has_history = True

    def matrices(self, seed: int) -> dict[str, Any]:
        """All of them are the identity."""
        return {}

    def checks(self, recording: Recording) -> list[Deviation]:
        """The rows at the end that are not yet those of the limit, and the rank of the others."""
        matrix, tokens = recording.matrices[-1], recording.last[:, 0]
        ends = tokens.argmin(), tokens.argmax()
        settled = boolean_rows(matrix) & np.isin(matrix.argmax(axis=1), ends)
        others = int(np.count_nonzero(~settled))
        rank = numerical_rank(matrix[settled]) if settled.any() else 0
        return [
            Deviation("rows of P that are neither e_a nor e_b up to 1e-6", others, 1),
            Deviation("rank of the rows that are", rank, 2),
        ]

    def draw(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw P, tokens from left to right."""
        order = np.argsort(recording.positions[0, :, 0])
        draw_matrix(axes, recording.matrices[sample], order)

    def draw_history(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw the rank of P, and how many rows are Boolean."""
        draw_rank(axes, recording, sample)
