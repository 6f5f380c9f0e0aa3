"""Stationary densities with noise on spheres that are symmetric about an axis.

With logits a <x, y>, V = c I and noise kappa > 0 they satisfy

    unnormalised  rho = e^{c Z / (a kappa)} / norm,    softmax  rho = Z^{c / (a kappa)} / norm,

Z(x) = int e^{a <x, y>} rho(dy); at a = 0 they are von Mises-Fisher densities (arXiv 2512.01868).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import roots_gegenbauer, roots_legendre

from meanformer.arrays import Array
from meanformer.theory.growth import log_partition, ratios

_NODES, _ITERATIONS, _CONVERGED = 200, 20_000, 1e-12
# A damped iteration contracts where the plain one flips between two profiles.
_DAMPING = 0.5


@cache
def ordered_mean(law: str, slope: float, value: float, temperature: float, dimension: int) -> float:
    """<x.e> of the stationary density that the iteration finds from one nearly all about e.

    It is 0 where that is the uniform density.

    Args:
        law: "softmax" or "unnormalised".
        slope: a, where logits are a <x, y>.
        value: c of V = c I, positive.
        temperature: kappa, positive.
        dimension: d of S^{d-1}, any from 2 on.

    Raises:
        ArithmeticError: If the iteration does not converge: at large slopes Z is lost in round-off
            opposite to e.
    """
    heights, weights = _quadrature(dimension)
    kernel = _zonal_kernel(slope, heights, dimension)
    log_size = log_partition(slope, dimension) if law == "unnormalised" else 0.0
    profile = _normalised(20 * heights, weights)
    for _ in range(_ITERATIONS):
        moments = kernel @ (weights * profile)  # Z / w_0 - 1
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            if slope == 0:
                mean = weights @ (heights * profile)
                logarithm = value / temperature * mean * heights
            elif law == "unnormalised":
                logarithm = value / (slope * temperature) * np.exp(log_size) * moments
            else:
                logarithm = value / (slope * temperature) * np.log1p(moments)
            after = _normalised(logarithm, weights)
        change = float(np.abs(weights * (after - profile)).sum())
        profile = (1 - _DAMPING) * profile + _DAMPING * after
        if change < _CONVERGED:
            return float(weights @ (heights * profile))
        if not np.isfinite(change):
            break
    raise ArithmeticError("stationary density: the iteration does not converge")


def _quadrature(dimension: int) -> tuple[Array, Array]:
    """Heights t = <x, e> and weights of the uniform probability, ``shape=(nodes,)`` each."""
    if dimension == 2:
        angle = np.pi * (np.arange(_NODES) + 0.5) / _NODES
        return np.cos(angle), np.full(_NODES, 1 / _NODES)
    order = dimension / 2 - 1
    nodes = roots_legendre(_NODES) if dimension == 3 else roots_gegenbauer(_NODES, order)
    # Gegenbauer's weight is (1 - t^2)^{order - 1/2}, the density of t: exactly the uniform one.
    heights, weights = nodes
    return heights, weights / weights.sum()


def _zonal_kernel(slope: float, heights: Array, dimension: int) -> Array:
    """e^{a <x, y>} / w_0 - 1 averaged over rotations about the axis, ``shape=(nodes, nodes)``.

    By its eigenvalues: sum_k N_k (w_k / w_0) C_k(t) C_k(s), C_k(1) = 1, k from 1 on: at small
    slopes little is left beside the 1 of k = 0.
    """
    top = int(30 + 2 * abs(slope))
    share = ratios(slope, np.arange(top + 1.0), dimension)
    share[0] = 0.0
    kernel = np.zeros((len(heights), len(heights)))
    before, polynomial = np.zeros_like(heights), np.ones_like(heights)
    number = 1.0
    for k in range(top + 1):
        kernel += number * share[k] * np.outer(polynomial, polynomial)
        # (k + d - 2) C_{k+1} = (2k + d - 2) t C_k - k C_{k-1}, in d = 2 of Chebyshev: 2 at k >= 1.
        lead, last = (2 * k + dimension - 2, k) if k + dimension > 2 else (1, 0)
        size = k + dimension - 2 if k + dimension > 2 else 1
        before, polynomial = polynomial, (lead * heights * polynomial - last * before) / size
        number = _multiplicity(k + 1, dimension)
    return kernel


def _multiplicity(degree: int, dimension: int) -> float:
    """How many independent harmonics of a degree k >= 1 there are on S^{d-1}."""
    number = 2.0 * degree + dimension - 2
    for j in range(1, dimension - 2):
        number *= (degree + j) / j
    return number / (dimension - 2) if dimension > 2 else 2.0


def _normalised(logarithm: Array, weights: Array) -> Array:
    """The density of mass one whose logarithm is known up to a constant."""
    density = np.exp(logarithm - logarithm.max())
    return density / (weights @ density)
