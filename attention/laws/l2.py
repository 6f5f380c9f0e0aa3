"""Attention by distances in place of inner products."""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.heads import Head
from meanformer.attention.laws.base import Affine, form, squares
from meanformer.attention.laws.own_sums import OwnSums
from meanformer.attention.laws.softmax import Softmax
from meanformer.attention.matrices import full, multiple_of_identity, times


class L2(Softmax):
    """V int y k mu(dy) / int k mu(dy) with k = e^{-beta |Qx-Ky|^2} (arXiv 2501.18322).

    -beta |Qx-Ky|^2 = 2 beta <Qx,Ky> - beta |Ky|^2 - beta |Qx|^2: logits twice as large, a factor
    of each point, and one of each target.
    """

    @property
    def scale(self) -> float:
        """2 beta."""
        return 2 * self.beta

    def log_factors(self, points: Array, key: Array) -> Array | None:
        """-beta |Ky|^2."""
        return -self.beta * squares(points, key)

    def log_shift(self, targets: Array, query: Array) -> Array:
        """-beta |Qx|^2."""
        return -self.beta * squares(targets, query)

    def rate(self, head: Head, spread: Array) -> Array | float:
        """That of softmax with 2 A."""
        return 2 * self._logits(head, spread) + 2

    def pull(self, own: OwnSums) -> Array:
        """2 (K^T Q int y k mu(dy) - Q^T Q x int k mu(dy))."""
        query, _, _ = own.head.matrices
        own_part = times(times(own.points, query.T), query)
        return 2 * (super().pull(own) - own_part * (own.sums.partition * own.scale)[:, None])

    def is_symmetric(self, head: Head) -> bool:
        """Where Q = K."""
        query, key, _ = (np.asarray(matrix) for matrix in head.matrices)
        return query.shape == key.shape and np.array_equal(query, key)

    def is_isotropic(self, head: Head) -> bool:
        """Where Q^T Q and K^T K are multiples of the identity, too."""
        grams = (times(matrix.T, matrix) for matrix in head.matrices[:2])
        return super().is_isotropic(head) and all(
            multiple_of_identity(gram) is not None for gram in grams
        )

    def is_mean(self) -> bool:
        """No formula is known for densities on spheres."""
        return False

    def affine(self, head: Head, mean: Array, covariance: Array) -> Affine | None:
        """V (m' + 2 S' A x) of ``_weighted`` (arXiv 2501.18322)."""
        mean, covariance, _ = self._weighted(head, mean, covariance)
        return super().affine(head, mean, covariance)

    def log_partition(
        self, head: Head, mean: Array, covariance: Array, targets: Array
    ) -> Array | None:
        """That of softmax with 2 A over ``_weighted``."""
        mean, covariance, log_mass = self._weighted(head, mean, covariance)
        partition = super().log_partition(head, mean, covariance, targets)
        assert partition is not None
        return partition + log_mass

    def _weighted(self, head: Head, mean: Array, covariance: Array) -> tuple[Array, Array, float]:
        """What the points' factors e^{-<Cy,y>/2}, C = 2 beta K^T K, make of N(m, S).

        By completed squares, m' = M m and S' = M S with M = (1 + S C)^{-1}, of the mass
        det(M)^{1/2} e^{-<m, C m'>/2}, the third as a logarithm.
        """
        d = len(mean)
        key = full(head.matrices[1], d)
        curb = 2 * self.beta * key.T @ key
        shrink = np.linalg.inv(np.eye(d) + covariance @ curb)
        moved = shrink @ mean
        log_mass = (np.linalg.slogdet(shrink)[1] - mean @ curb @ moved) / 2
        return moved, shrink @ covariance, float(log_mass)

    def _limit(self, own: OwnSums) -> Array:
        """Minus half of iint |Qx-Ky|^2 mu mu."""
        query, key, _ = own.head.matrices
        mass = own.integral(np.ones(len(own.points)))
        both = own.integral(squares(own.points, query) + squares(own.points, key))
        return form(own.head.product, own.integral(own.points)) - mass * both / 2
