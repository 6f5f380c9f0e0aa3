r"""A negative-Sobolev distance between measures on S^2, from their harmonic moments.

With c_lm(mu) = int phi_lm dmu in a basis orthonormal for the uniform probability,

    D(mu, nu)^2 = sum_{1 <= l <= L} (l (l + 1))^{-2} sum_m |c_lm(mu) - c_lm(nu)|^2,

the norm dual to |Lap f|_{L2} for functions of mean zero and degree at most L. H^2 functions on the
sphere are continuous, so point masses have finite distances; degrees above L would add less than
1/(L+1)^2 to D^2 of an independent sample, relative to 1/n.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from meanformer.attention import harmonics
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver

Array = npt.NDArray[np.float64]

#: The largest degree L.
DEGREE = 32


class HarmonicDistance(NamedTuple):
    """A distance and what sampling alone would make of it.

    Attributes:
        distance: D(density, tokens), dimensionless.
        noise: Root mean square of D for as many independent samples of the density.
    """

    distance: float
    noise: float


def harmonic_distance(density: DensitySolver, tokens: TokenSolver) -> HarmonicDistance:
    """Distance between the density and the tokens' empirical measure. Collective.

    The noise follows from E|c_lm(mu_n) - c_lm(rho)|^2 = (E|phi_lm|^2 - |c_lm(rho)|^2)/n and the
    addition theorem sum_m |phi_lm|^2 = 2l + 1.
    """
    expected, empirical = (
        harmonics.analyse(harmonics.angles(s.points), s.weights, DEGREE, s.comm)
        for s in (density, tokens)
    )
    degree = np.arange(1, DEGREE + 1)
    sobolev = 1 / (degree * (degree + 1.0)) ** 2
    gap, power = (
        4 * np.pi * harmonics.degree_power(m, m, DEGREE)[1:] for m in (empirical - expected, expected)
    )
    variance = (2 * degree + 1 - power) / tokens.number
    return HarmonicDistance(float(np.sqrt(sobolev @ gap)), float(np.sqrt(sobolev @ variance)))
