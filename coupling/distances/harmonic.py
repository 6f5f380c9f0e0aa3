r"""A negative-Sobolev distance between measures on S^2, from their harmonic moments.

With c_lm(mu) = int phi_lm dmu in a basis orthonormal for the uniform probability,

    D(mu, nu)^2 = sum_{1 <= l <= L} (l (l + 1))^{-3/2} sum_m |c_lm(mu) - c_lm(nu)|^2,

the norm of H^{-3/2}, up to constants the energy distance with the chord |x - y| and, by Stolarsky's
invariance principle, the mean square discrepancy over spherical caps. Functions in H^{3/2} are
continuous on the sphere, so point masses have finite distances; degrees above L = 32 would add
three per cent to D^2 of an independent sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Sphere
from meanformer.attention.transforms import sphere
from meanformer.attention.transforms.nonuniform import Moments
from meanformer.coupling.distances.base import Metric
from meanformer.particles import TokenEnsemble
from meanformer.solvers import Density, Tokens, WeightedPoints

#: The largest degree L.
DEGREE = 32
_DEGREES = np.arange(1, DEGREE + 1)
_WEIGHTS = (_DEGREES * (_DEGREES + 1.0)) ** -1.5


def moments(solver: WeightedPoints) -> Moments:
    """Moments of a solver's measure up to degree L. Collective."""
    locations = sphere.angles(solver.points)
    return sphere.analyse(locations, solver.weights, DEGREE, solver.comm)


def sobolev_square(difference: Moments) -> float:
    """D^2 from the moments of mu - nu, orthonormal for surface measure."""
    return float(np.sum(4 * np.pi * _power(difference) * _WEIGHTS))


def harmonic_distance(density: Density, tokens: Tokens) -> float:
    """D(density, tokens), dimensionless. Collective."""
    return float(np.sqrt(sobolev_square(moments(tokens) - moments(density))))


def independent_noise(density: Density, number: int) -> float:
    """Root mean square of D between a density and independent samples of it. Collective.

    As E|c_lm(mu_n) - c_lm(rho)|^2 = (E|phi_lm|^2 - |c_lm(rho)|^2)/n and sum_m |phi_lm|^2 = 2l + 1,

        D^2 = (1/n) sum_l (l (l + 1))^{-3/2} ((2l + 1) - sum_m |c_lm(rho)|^2).
    """
    variances = 2 * _DEGREES + 1 - 4 * np.pi * _power(moments(density))
    return float(np.sqrt(np.sum(variances * _WEIGHTS) / number))


def sampling_noise(ensemble: TokenEnsemble) -> float:
    """Root mean square of D between the limit and as many tokens as the systems have together.

    The systems are independent, and a measure's fluctuation is proportional to n^{-1/2}: with R
    systems of n/R tokens each, the variance of one, over R, is that of a system of n tokens.
    Collective.

    Returns:
        The noise, dimensionless; nan with a single system.
    """
    count = len(ensemble.systems)
    if count < 2:
        return float("nan")
    each = [moments(system) for system in ensemble.systems]
    mean = sum(each) / count
    spread = sum(sobolev_square(one - mean) for one in each) / (count - 1)
    return float(np.sqrt(spread / count))


class Harmonic(Metric):
    """D, with the noise of independent tokens times its growth since the start.

    An independent sample of the present density would say too little: attention amplifies the
    fluctuations of the start. By how much, the scatter of independent systems tells. At the start
    it is scaled to the exact noise there.
    """

    name = "harmonic"
    spaces = "the sphere $S^2$"
    only_on = (Sphere(3),)
    cost = "one more run of all tokens, in eight systems; a sample is one transform of each measure"
    systems = 8
    columns: ClassVar[Mapping[str, str]] = {
        "harmonic": r"$D^2=\sum_{l=1}^{32}(l(l+1))^{-3/2}\sum_m\lvert "
        r"c_{lm}(\mu_n)-c_{lm}(\rho)\rvert^2$ with $c_{lm}$ the coefficients in a basis "
        "orthonormal for the uniform probability: the norm of $H^{-3/2}$, up to constants the "
        "energy distance and the mean square discrepancy over spherical caps",
        "harmonic_noise": "what sampling alone makes of it: the root mean square of $D$ for n "
        "tokens that start independently",
    }

    def __init__(self, density: Density, tokens: Tokens, ensemble: TokenEnsemble | None) -> None:
        """Compare the systems' scatter with the exact noise of independent tokens. Collective."""
        super().__init__(density, tokens, ensemble)
        assert ensemble is not None
        self._systems = ensemble
        self._calibration = independent_noise(density, ensemble.number) / sampling_noise(ensemble)

    def measure(self) -> tuple[float, ...]:
        """The distance, and its noise. Collective."""
        distance = harmonic_distance(self._density, self._tokens)
        return distance, self._calibration * sampling_noise(self._systems)


def _power(coefficients: Moments) -> Array:
    """sum_m |a_lm|^2 for l = 1..L, ``shape=(L,)``."""
    return sphere.degree_power(coefficients, coefficients, DEGREE)[1:]
