"""Growth rates of perturbations of the uniform density on spheres, and thresholds of noise.

With logits a <x, y> and V = c I a harmonic perturbation of degree k grows like e^{lambda_k t}, by
the Funk-Hecke eigenvalues w_k of e^{a <x, y>} for the uniform probability on S^{d-1},

    w_k = Gamma(d/2) (2/a)^{d/2-1} I_{k+d/2-1}(a),

    unnormalised  lambda_k = k (k+d-2) (c w_k / a - kappa)
    softmax       lambda_k = k (k+d-2) (c w_k / (a w_0) - kappa)
    sinkhorn      lambda_k = k (k+d-2) (c q / (a (1 + q)) - kappa),  q = w_k / w_0

(arXiv 2410.23228 without noise, which adds kappa times the Laplacian).
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, hyp0f1, ive

from meanformer.arrays import Array

#: The laws for which rates are known.
LAWS = ("softmax", "unnormalised", "sinkhorn")
# Beyond, rates of the fastest degrees have long fallen, for logits that sums can hold.
_LARGEST_DEGREE = 400


def degrees(slope: float) -> Array:
    """Degrees from 1 to far beyond that of the fastest, about sqrt(|a|), ``shape=(k,)``."""
    return np.arange(1.0, min(_LARGEST_DEGREE, 10 + 4 * np.sqrt(abs(slope)) + abs(slope)) + 1)


def ratios(slope: float, degree: Array, dimension: int) -> Array:
    """w_k / w_0 of e^{a <x, y>} for some k, a the slope, ``shape=(k,)``."""
    if slope == 0:
        return np.where(degree == 0, 1.0, 0.0)
    order, size = dimension / 2 - 1, abs(slope)
    found: Array
    if size < order:  # by series, as Bessel functions may be below the smallest number
        power = degree * np.log(size / 2) + gammaln(order + 1) - gammaln(degree + order + 1)
        series = hyp0f1(degree + order + 1, size**2 / 4) / hyp0f1(order + 1, size**2 / 4)
        found = np.exp(power) * series
    else:
        found = ive(degree + order, size) / ive(order, size)
    return found * np.sign(slope) ** degree


def log_partition(slope: float, dimension: int) -> float:
    """The logarithm of w_0, the integral of e^{a <x, y>} against the uniform probability."""
    order, size = dimension / 2 - 1, abs(slope)
    if size == 0:
        return 0.0
    if size < order:
        return float(np.log(hyp0f1(order + 1, size**2 / 4)))
    return float(gammaln(order + 1) + order * np.log(2 / size) + np.log(ive(order, size)) + size)


def thresholds(law: str, slope: float, value: float, degree: Array, dimension: int) -> Array:
    """The kappa at which perturbations of each degree neither grow nor decay, ``shape=(k,)``.

    Args:
        law: One of ``LAWS``.
        slope: a, where logits are a <x, y>.
        value: c of V = c I.
        degree: Some k from 1 on, ``shape=(k,)``.
        dimension: d of S^{d-1}, any from 2 on.

    Returns:
        Infinite where e^{|a|} exceeds double precision.
    """
    share = ratios(slope, degree, dimension)
    # w_1 / (a w_0) tends to 1/d as a tends to 0, and the others to 0.
    over = share / slope if slope != 0 else np.where(degree == 1, 1 / dimension, 0.0)
    if law == "unnormalised":
        with np.errstate(over="ignore"):
            return value * over * np.exp(log_partition(slope, dimension))
    return value * over / (1 + share) if law == "sinkhorn" else value * over


def rates(
    law: str, slope: float, value: float, temperature: float, degree: Array, dimension: int
) -> Array:
    """lambda_k, ``shape=(k,)``; arguments as for ``thresholds``, with kappa the temperature."""
    at_rest = thresholds(law, slope, value, degree, dimension)
    return degree * (degree + dimension - 2) * (at_rest - temperature)
