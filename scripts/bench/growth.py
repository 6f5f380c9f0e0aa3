"""How cost grows with size: a power law fitted to measurements."""

from __future__ import annotations

from collections.abc import Mapping
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


def fit_growth(seconds: Mapping[int, float], at_most: float = PAIRS) -> GrowthLaw:
    """The exponent by least squares in the logarithms, through the largest size.

    Args:
        seconds: What each size took, of at least one.
        at_most: The largest exponent to be believed (noise, and small sizes that fit into a
            cache, can show any), and the one believed if a single size was measured.
    """
    x, y = np.log(list(seconds)), np.log(list(seconds.values()))
    exponent = at_most if len(seconds) < 2 else min(float(np.polyfit(x, y, 1)[0]), at_most)
    last = int(np.argmax(x))
    return GrowthLaw(float(np.exp(y[last] - exponent * x[last])), exponent)


def exponents(seconds: Mapping[int, float]) -> dict[str, float]:
    """``growth`` over all sizes and ``growth_last`` between the two largest; {} of one size."""
    if len(seconds) < 2:
        return {}
    largest = {size: seconds[size] for size in sorted(seconds)[-2:]}
    return {
        name: fit_growth(some, np.inf).exponent
        for name, some in (("growth", seconds), ("growth_last", largest))
    }


def growth_text(growth: float | None, growth_last: float | None) -> str:
    """Exponents of a growth, the one between the two largest in brackets."""
    return "" if growth is None else f"N^{growth:.2f} ({growth_last:.2f})"
