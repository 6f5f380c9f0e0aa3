r"""A negative-Sobolev distance between measures on S^2, from their harmonic moments.

With c_lm(mu) = int phi_lm dmu in a basis orthonormal for the uniform probability,

    D(mu, nu)^2 = sum_{1 <= l <= L} (l (l + 1))^{-3/2} sum_m |c_lm(mu) - c_lm(nu)|^2,

the norm of H^{-3/2}, up to constants the energy distance with the chord |x - y| and, by Stolarsky's
invariance principle, the mean square discrepancy over spherical caps. Functions in H^{3/2} are
continuous on the sphere, so point masses have finite distances; degrees above L = 32 would add
three per cent to D^2 of an independent sample.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meanformer.attention import harmonics
from meanformer.coupling.replicas import TokenReplicas
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver

Array = npt.NDArray[np.float64]

#: The largest degree L.
DEGREE = 32


def moments(solver: DensitySolver | TokenSolver) -> harmonics.Moments:
    """Moments of a solver's measure up to degree L. Collective."""
    locations = harmonics.angles(solver.points)
    return harmonics.analyse(locations, solver.weights, DEGREE, solver.comm)


def sobolev_square(difference: harmonics.Moments) -> float:
    """D^2 from the moments of mu - nu, orthonormal for surface measure."""
    degree = np.arange(1, DEGREE + 1)
    power = 4 * np.pi * harmonics.degree_power(difference, difference, DEGREE)[1:]
    return float(np.sum(power / (degree * (degree + 1.0)) ** 1.5))


def harmonic_distance(density: DensitySolver, tokens: TokenSolver) -> float:
    """D(density, tokens), dimensionless. Collective."""
    return float(np.sqrt(sobolev_square(moments(tokens) - moments(density))))


def sampling_noise(replicas: TokenReplicas) -> float:
    """Root mean square of D between the limit and as many tokens as the replicas have together.

    The replicas are independent, and a measure's fluctuation is proportional to n^{-1/2}: with R
    replicas of n/R tokens each, the variance of one, over R, is that of a system of n tokens. At
    the start this estimates the exact value for independent tokens,

        D^2 = (1/n) sum_l (l (l + 1))^{-3/2} ((2l + 1) - sum_m |c_lm(rho)|^2);

    later it includes what the interaction makes of the fluctuations. Collective.

    Returns:
        The noise, dimensionless; nan with a single replica.
    """
    count = len(replicas.systems)
    if count < 2:
        return float("nan")
    each = [moments(system) for system in replicas.systems]
    mean = sum(each) / count
    spread = sum(sobolev_square(one - mean) for one in each) / (count - 1)
    return float(np.sqrt(spread / count))
