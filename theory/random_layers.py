r"""Two tokens under random layers: with what probability they end antipodal (arXiv 2601.21942).

Layers x <- normalise(x + sqrt(eta) W m), with W of independent N(0, 1), the same for both tokens,
tend as eta -> 0, with time eta times the number of layers, to a diffusion of c = <x_1, x_2> (of
softmax):

    dc = (1 - c^2) (2 (d - 1) q - b) dt + (1 - c^2) sqrt(2 (1 - 2 q)) dW,

with p = 1 / (1 + e^{-beta (1-c)}), q = p (1 - p), b = c + 2 q (1 - c). It ends at c = 1 or c = -1.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from meanformer.arrays import Array

# Of y = artanh c, beyond which rates are those of the ends to round-off, and how finely.
_REACH, _POINTS = 20.0, 8001


def antipodal_probability(height: float, beta: float, dimension: int) -> float:
    """The probability that two tokens of S^{d-1} under random layers end antipodal.

    With the scale function S(c) = int_{-1}^c exp(-int 2 mu / sigma^2) of the diffusion it is
    1 - S(c) / S(1), and 0 where S is infinite: where cosh(beta)^2 <= (d-1)/2. In y = artanh c,
    2 mu / sigma^2 dc = f dy with f = (2 (d-1) q - b) / (1 - 2 q).

    Args:
        height: c at the start, between -1 and 1.
        beta: Inverse temperature, dimensionless.
        dimension: d, at least 2.

    Raises:
        ValueError: If an argument is none of these.
    """
    if not -1 < height < 1 or dimension < 2:
        raise ValueError(
            f"antipodal_probability: height is {height}, dimension {dimension}; must be between -1 "
            "and 1, and at least 2"
        )
    margin = 2.0 - float(_rates(np.array(-1.0), beta, dimension))
    if margin <= 0:
        return 0.0
    y = np.linspace(-_REACH, _REACH, _POINTS)
    exponent = CubicSpline(y, _rates(np.tanh(y), beta, dimension)).antiderivative()
    density = np.exp(exponent(0.0) - exponent(y)) / np.cosh(y) ** 2
    scale = CubicSpline(y, density).antiderivative()
    before = density[0] / margin  # what is beyond the reach: exponential there
    start = float(np.clip(np.arctanh(height), -_REACH, _REACH))
    return float(1 - (before + scale(start)) / (before + scale(_REACH)))


def antipodal_threshold(beta: float) -> float:
    """The d below which antipodal pairs attract: cosh(beta)^2 = (d-1)/2 (arXiv 2601.21942)."""
    return float(1 + 2 * np.cosh(beta) ** 2)


def _rates(heights: Array, beta: float, dimension: int) -> Array:
    """2 mu / sigma^2 times dc / dy, of the shape of the heights c."""
    p = 1 / (1 + np.exp(-beta * (1 - heights)))
    q = p * (1 - p)
    b = heights + 2 * q * (1 - heights)
    rates: Array = (2 * (dimension - 1) * q - b) / (1 - 2 * q)
    return rates
