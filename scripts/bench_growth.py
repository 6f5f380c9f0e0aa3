"""How cost grows with size: a power law fitted to measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: Exponent of a sum over all pairs, where the points are as many as the targets.
PAIRS = 2.0


class GrowthLaw(NamedTuple):
    """Seconds = factor * size^exponent."""

    factor: float
    exponent: float

    def __call__(self, size: float) -> float:
        """Seconds that a size takes."""
        return float(self.factor * size**self.exponent)

    def size(self, seconds: float) -> float:
        """The size that takes so long."""
        return float((seconds / self.factor) ** (1 / self.exponent))


def fit_growth(
    sizes: Sequence[float], seconds: Sequence[float], at_most: float = PAIRS
) -> GrowthLaw:
    """The exponent by least squares in the logarithms, through the largest size.

    Args:
        sizes: Sizes measured, positive, at least one.
        seconds: What they took.
        at_most: The largest exponent to be believed (noise, and small sizes that fit into a
            cache, can show any), and the one believed if a single size was measured.
    """
    x, y = np.log(sizes), np.log(seconds)
    exponent = at_most if len(set(sizes)) < 2 else min(float(np.polyfit(x, y, 1)[0]), at_most)
    last = int(np.argmax(x))
    return GrowthLaw(float(np.exp(y[last] - exponent * x[last])), exponent)
