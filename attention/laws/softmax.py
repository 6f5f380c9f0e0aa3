"""Softmax, the law of transformers."""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.kernels import Exponential
from meanformer.attention.heads import Head
from meanformer.attention.laws.base import Affine, Law, form
from meanformer.attention.laws.own_sums import OwnSums
from meanformer.attention.matrices import full, times


class Softmax(Law):
    """V int y e^{<Ax,y>} mu(dy) / Z(x) (arXiv 2305.05465)."""

    kernel = Exponential()
    energetic = True
    has_log_partition = True

    def rate(self, head: Head, spread: Array) -> Array | float:
        """V Cov[y] A is the derivative of an average, and projection adds 2 |v|."""
        return self._logits(head, spread) + 2

    def energy(self, own: OwnSums) -> Array:
        """1/(2 beta) iint e^{<Ax,y>} mu mu (arXiv 2312.10794, section 3), or its limit."""
        if self.beta == 0:
            return self._limit(own)
        with np.errstate(over="ignore"):
            share = own.integral(own.sums.partition * own.scale)
        return np.where(np.isfinite(share), share, np.inf) / (2 * self.beta)

    def pull(self, own: OwnSums) -> Array:
        """K^T Q int y e^{<Ax,y>} mu(dy)."""
        return times(own.sums.moment * own.scale[:, None], own.head.product)

    def is_mean(self) -> bool:
        """At beta = 0."""
        return self.beta == 0

    def affine(self, head: Head, mean: Array, covariance: Array) -> Affine | None:
        """V (m + S A x) (arXiv 2501.18322)."""
        value = full(head.matrices[2], len(mean))
        return value @ mean, value @ covariance @ full(self.scale * head.product, len(mean))

    def log_partition(
        self, head: Head, mean: Array, covariance: Array, targets: Array
    ) -> Array | None:
        """<m, A x> + <A x, S A x>/2 (arXiv 2501.18322)."""
        tilt = targets @ full(self.scale * head.product, len(mean)).T
        logarithm: Array = tilt @ mean + np.einsum("ij,ij->i", tilt @ covariance, tilt) / 2
        return logarithm

    def _limit(self, own: OwnSums) -> Array:
        """Half of <K^T Q m, m>, m the mean: the limit at beta = 0 of the energy less a constant."""
        return form(own.head.product, own.integral(own.points)) / 2
