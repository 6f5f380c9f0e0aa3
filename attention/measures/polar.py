"""The angle from an axis on S^{d-1}, d > 3, under densities that depend on it alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import gammaln

from meanformer.arrays import Array

_PANELS = 256
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_REACH = 60.0  # e^{-60} is nothing beside the smallest uniform number, 2^-53 = e^{-37}


def log_area(dimension: int) -> float:
    """The logarithm of |S^{d-1}| = 2 pi^{d/2} / Gamma(d/2)."""
    return float(np.log(2) + dimension / 2 * np.log(np.pi) - gammaln(dimension / 2))


@dataclass(frozen=True)
class PolarAngle:
    """The angle t from m under the density e^{c <x, m>}: (sin t)^{d-2} e^{c cos t} on [0, pi].

    Args:
        dimension: d > 3.
        concentration: c >= 0.
    """

    dimension: int
    concentration: float

    @cached_property
    def log_mass(self) -> float:
        """The logarithm of int e^{c (<x, m> - 1)} dx over the sphere."""
        angles = log_area(self.dimension - 1)
        return angles + self._log_largest + float(np.log(self._cumulative[-1]))

    def quantile(self, levels: Array) -> Array:
        """Angles at which the distribution function has given levels in [0, 1), ``shape=(n,)``."""
        wanted = levels * self._cumulative[-1]
        panel = np.searchsorted(self._cumulative, wanted, side="right") - 1
        panel = np.minimum(panel, _PANELS - 1)
        left, right = self._edges[panel], self._edges[panel + 1]
        rest = wanted - self._cumulative[panel]
        share = rest / (self._cumulative[panel + 1] - self._cumulative[panel])
        angle = left + (right - left) * share
        # Newton's method; in the first panel of few dimensions the mass is like t^{d-1}, where it
        # begins by taking off a share of 1/(d-1) at a time.
        for _ in range(30):
            error = self._between(left, angle) - rest
            angle = np.clip(angle - error / self._density(angle), left, right)
        return angle

    @cached_property
    def _mode(self) -> float:
        """Where the density is largest: (d-2) cos t = c sin^2 t."""
        if self.concentration == 0:
            return np.pi / 2
        share = (self.dimension - 2) / self.concentration
        cosine = 2 / (share + np.hypot(share, 2))
        return float(np.arctan2(np.sqrt(share * cosine), cosine))

    @cached_property
    def _log_largest(self) -> float:
        return float(self._logarithm(np.array(self._mode)))

    @cached_property
    def _edges(self) -> Array:
        """Panels of equal length where the density counts."""
        ends = [self._mode, self._mode]
        for k, far in enumerate((0.0, np.pi)):
            for _ in range(60):
                middle = (far + ends[k]) / 2
                if self._logarithm(np.array(middle)) > self._log_largest - _REACH:
                    ends[k] = middle
                else:
                    far = middle
        return np.linspace(ends[0], ends[1], _PANELS + 1)

    @cached_property
    def _cumulative(self) -> Array:
        """The mass up to each edge."""
        return np.append(0.0, np.cumsum(self._between(self._edges[:-1], self._edges[1:])))

    def _logarithm(self, angle: Array) -> Array:
        """Of the density, at angles inside (0, pi)."""
        height = -2 * np.sin(angle / 2) ** 2  # cos t - 1
        return (self.dimension - 2) * np.log(np.sin(angle)) + self.concentration * height

    def _density(self, angle: Array) -> Array:
        return np.exp(self._logarithm(angle) - self._log_largest)

    def _between(self, left: Array, right: Array) -> Array:
        """The mass between two angles of a panel, by Gauss's rule."""
        half, middle = (right - left) / 2, (right + left) / 2
        values = self._density(middle[:, None] + half[:, None] * _NODES)
        return half * np.einsum("ij,j->i", values, _WEIGHTS)  # row by row, however many
