r"""Zonal kernels k(<x, y>) on the circle and the sphere, and their Funk-Hecke eigenvalues.

On S^{d-1} a zonal kernel is diagonal in harmonics of each degree l, with the eigenvalue

    lambda_l = int k(<x, y>) C_l(<x, y>) sigma(dy),    k(t) = sum_l N_l lambda_l C_l(t),

sigma the uniform probability. For d = 2, C_l(cos s) = cos(l s) and N_l = 2 (N_0 = 1); for d = 3,
C_l is the Legendre polynomial P_l and N_l = 2l + 1. Everything about the moment
M(x) = int y k(<x, y>) mu(dy) follows from the same numbers: its tangential part is the gradient of
a potential with the kernel K, K' = k, and its radial part has the kernel t k(t).

All kernels are divided by their largest value k(+-1) against overflow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import dct

from meanformer.arrays import Array

#: Degrees beyond these are refused, by dimension. On the sphere a transform then takes seconds
#: and a gigabyte.
LARGEST_DEGREE = {2: 20_000, 3: 3_000}
#: What the expansion may leave out, relative to the largest value of the kernel.
_TRUNCATION = 1e-16


def multiplicities(degree: int, dimension: int) -> Array:
    """N_l for l = 0..degree: the number of independent harmonics of each degree."""
    ell = np.arange(degree + 1).astype(float)
    counts: Array = np.where(ell == 0, 1.0, 2.0) if dimension == 2 else 2 * ell + 1
    return counts


def degree_of_exponential(beta: float, dimension: int) -> int | None:
    """The degree for e^{beta t}; None where it is far beyond ``LARGEST_DEGREE``."""
    top = _degree_bound(beta)
    if top > 2 * LARGEST_DEGREE[dimension]:
        return None
    terms = multiplicities(top, dimension) * _scaled_bessel(abs(beta), top, dimension)
    tails = np.cumsum(terms[::-1])[::-1]
    return int(np.argmax(tails < _TRUNCATION))


def degree_of_logistic(beta: float, offset: float, log_largest: float) -> int:
    """The degree for s(beta t + offset), s(u) = 1/(1 + e^{-u}), by its poles.

    They lie at beta t_j + offset = +-(2j+1) i pi. A pole t_j on the ellipse
    |t_j + sqrt(t_j^2 - 1)| = r with foci +-1, and its conjugate, add 4 / |beta sqrt(t_j^2 - 1)|
    r^{-l} to the coefficient of cos(l s): terms of modulus r^{-l}, to be added up beyond L.
    (Legendre coefficients differ by a power of l.) ``log_largest`` is the logarithm of the
    largest value.
    """
    if beta == 0:
        return 0
    odd = 2 * np.arange(64) + 1
    pole = (odd * np.pi * 1j - offset) / beta
    root = np.sqrt(pole - 1) * np.sqrt(pole + 1)
    log_radius = np.log(np.maximum(np.abs(pole + root), np.abs(pole - root)))
    log_sum = np.log(4 / np.abs(beta * root)) - np.log(-np.expm1(-log_radius))
    excess = log_sum - log_largest - np.log(_TRUNCATION)
    return int(np.ceil(np.max(excess / log_radius))) + 2


def of_exponential(beta: float, degree: int, dimension: int) -> Array:
    """lambda_l / k_max of e^{beta t} for l = 0..degree, ``shape=(degree+1,)``."""
    signs = np.sign(beta) ** np.arange(degree + 1)
    return _scaled_bessel(abs(beta), degree, dimension) * signs


def of_function(kernel: Callable[[Array], Array], degree: int, dimension: int) -> Array:
    """lambda_l of any k(t) for l = 0..degree, ``shape=(degree+1,)``.

    By a cosine transform, exact for polynomials of the degree.
    """
    nodes = degree + 1
    angle = np.pi * (np.arange(nodes) + 0.5) / nodes
    on_circle = dct(kernel(np.cos(angle)), type=2) / (2 * nodes)
    return on_circle if dimension == 2 else _from_circle_to_sphere(on_circle)


def slopes(eigenvalue: Array, dimension: int) -> Array:
    """The eigenvalues of K, K' = k: (lambda_{l-1} - lambda_{l+1}) / (2l + d - 2), l >= 1.

    From lambda_0 .. lambda_{L+1}, ``shape=(L+2,)``, to ``shape=(L+1,)``. The entry for l = 0 is
    zero: the gradient of a constant vanishes.
    """
    ell = np.arange(1, len(eigenvalue) - 1)
    return np.append(0.0, (eigenvalue[:-2] - eigenvalue[2:]) / (2 * ell + dimension - 2))


def radial(eigenvalue: Array, dimension: int) -> Array:
    """The eigenvalues of t k(t): (l lambda_{l-1} + (l+d-2) lambda_{l+1}) / (2l + d - 2).

    From lambda_0 .. lambda_{L+1}, ``shape=(L+2,)``, to ``shape=(L+1,)``; lambda_1 for l = 0.
    """
    ell = np.arange(1, len(eigenvalue) - 1)
    both = ell * eigenvalue[:-2] + (ell + dimension - 2) * eigenvalue[2:]
    return np.append(eigenvalue[1], both / (2 * ell + dimension - 2))


def _scaled_bessel(size: float, degree: int, dimension: int) -> Array:
    """The eigenvalues of e^{beta t - beta}, beta >= 0: e^{-beta} I_l(beta) or e^{-beta} i_l(beta).

    By the ratios r_l = lambda_{l+1} / lambda_l, which satisfy 1/r_{l-1} = (2l + d - 2)/beta + r_l
    (all terms are positive: downwards nothing is lost), and sum_l N_l lambda_l = 1. Ten to a
    hundred times as accurate as scipy's ``ive``, whose errors do not cancel in ``slopes``.
    """
    if size == 0:
        return np.where(np.arange(degree + 1) == 0, 1.0, 0.0)
    top = max(degree, _degree_bound(size)) + 20
    ratios, ratio = np.empty(top), 0.0
    for ell in range(top, 0, -1):
        ratio = 1 / ((2 * ell + dimension - 2) / size + ratio)
        ratios[ell - 1] = ratio
    values = np.cumprod(np.append(1.0, ratios))
    return values[: degree + 1] / (multiplicities(top, dimension) @ values)


def _degree_bound(beta: float) -> int:
    """A degree at which the expansion of e^{beta t} is well below round-off."""
    return int(24 + 12 * np.sqrt(abs(beta)) + min(abs(beta), 40.0))


def _from_circle_to_sphere(eigenvalue: Array) -> Array:
    """The eigenvalues on S^2 of a kernel known by those on S^1, both ``shape=(degree+1,)``.

    Chebyshev to Legendre coefficients, Alpert & Rokhlin, SIAM J. Sci. Stat. Comput. 12 (1991)
    158: with g(z) = Gamma(z + 1/2)/Gamma(z + 1), the coefficient of P_l in T_n is
    sqrt(pi) / (2 g(n)) for n = l >= 1, and for n = l + 2 + 2j

        -n (l + 1/2) g(j) g(l + j + 1/2) / ((n + l + 1) (n - l)).

    High degrees come from high degrees only: what is tiny keeps its accuracy, which integrals
    against P_l would lose.
    """
    top = len(eigenvalue)
    k = np.arange(1, top, dtype=np.longdouble)
    at_integers = np.sqrt(np.pi) * np.cumprod(np.append(1, (k - 0.5) / k)).astype(float)
    at_halves = 2 / np.sqrt(np.pi) * np.cumprod(np.append(1, k / (k + 0.5))).astype(float)
    result = np.empty(top)
    for ell in range(top):
        n = np.arange(ell + 2, top, 2)
        j = len(n)
        higher = n * at_integers[:j] * at_halves[ell : ell + j] / ((n + ell + 1) * (n - ell))
        own = np.sqrt(np.pi) / at_integers[ell] / (2 * ell + 1)
        result[ell] = own * eigenvalue[ell] - higher @ eigenvalue[ell + 2 :: 2]
    return result
