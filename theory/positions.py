r"""How much of a token's place in the order is left in those after it (arXiv 2605.09213).

Causal tokens on the circle see those before them with weights e^{-lambda (x-s)} of labels s < x in
(0, 1], start from independent uniform places, and move with V = I. A perturbation e^{ik theta} of
the tokens then spreads along the labels: with a the growth rate of degree k about the uniform
density (``growth.rates``) and n tokens, what token x holds of the one at s is g(x, s) / n,

    g(x, s) = e^{lambda s} / m(x) psi(log(m(x) / m(s))),    m(s) = (e^{lambda s} - 1) / lambda,
    psi(Y) = sum_j (at)^{j+1} Y^j / (j! (j+1)!),

and with lambda = 0, m(s) = s. As n grows,

    n E[cos k(theta_x - theta_s)] -> g(x, s) + int_0^s g(x, r) g(s, r) dr,    s < x.

g(1, s) is large where s is near 0 or near 1: models are "lost in the middle".
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.laguerre import laggauss
from scipy.special import hyp0f1

from meanformer.arrays import Array

# Nodes that integrate psi against e^{-u} to round-off, up to at = 10.
_NODES = 60


def influence(later: Array, label: Array, growth: float, decay: float = 0.0) -> Array:
    """g(x, s).

    Args:
        later: x, in (0, 1].
        label: s, in (0, x]; shapes are broadcast.
        growth: a t, dimensionless.
        decay: lambda, dimensionless, at most 300 in size.

    Returns:
        Of the common shape, dimensionless.
    """
    masses = _mass(later, decay), _mass(label, decay)
    found: Array = np.exp(decay * label) / masses[0] * _psi(np.log(masses[0] / masses[1]), growth)
    return found


def correlation(later: Array, label: Array, growth: float, decay: float = 0.0) -> Array:
    """The limit of n E[cos k(theta_x - theta_s)] for s < x; arguments as for ``influence``.

    With m(r) = m(s) e^{-u} and D = log(m(x) / m(s)), the integral over r is

        int (1 + lambda m(s) e^{-u}) psi(D + u) psi(u) e^{-u} du / m(x),    u > 0.
    """
    whole, part = (np.asarray(_mass(s, decay))[..., None] for s in (later, label))
    u, weights = laggauss(_NODES)
    products = _psi(np.log(whole / part) + u, growth) * _psi(u, growth)
    shared = (1 + decay * part * np.exp(-u)) * products / whole
    found: Array = influence(later, label, growth, decay) + shared @ weights
    return found


def _mass(label: Array, decay: float) -> Array:
    """m(s)."""
    found: Array = np.expm1(decay * label) / decay if decay else np.asarray(label, dtype=float)
    return found


def _psi(height: Array, growth: float) -> Array:
    """psi(Y), a Bessel function: at 0F1(; 2; at Y)."""
    found: Array = growth * hyp0f1(2, growth * height)
    return found
