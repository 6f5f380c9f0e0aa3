"""Linear attention: logits are the weights."""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.kernels import Logit
from meanformer.attention.heads import Head
from meanformer.attention.laws.base import Affine, Law
from meanformer.attention.laws.own_sums import OwnSums
from meanformer.attention.matrices import full, times


class Linear(Law):
    """V (int y y^T mu(dy)) A x (arXiv 2501.18322)."""

    normalised = False
    kernel = Logit()
    energetic = True
    moves_by_matrices = True

    def rate(self, head: Head, spread: Array) -> Array | float:
        """The velocity and its derivative are at most |V| |A|."""
        return 3 * self._logits(head, spread)

    def energy(self, own: OwnSums) -> Array:
        """1/(4 beta) iint <Ax,y>^2 mu mu."""
        product = own.head.product
        left, right = (times(matrix, own.second_moments) for matrix in (product, product.T))
        return self.beta * np.trace(left @ right, axis1=-2, axis2=-1) / 4

    def pull(self, own: OwnSums) -> Array:
        """K^T Q int y <Ax,y> mu(dy)."""
        product = own.head.product
        return times(times(own.points, self.beta * product.T) @ own.second_moments, product)

    def affine(self, head: Head, mean: Array, covariance: Array) -> Affine | None:
        """V (S + m m^T) A x."""
        d = len(mean)
        moments = covariance + np.multiply.outer(mean, mean)
        slope = full(head.matrices[2], d) @ moments @ full(self.beta * head.product, d)
        return np.zeros(d), slope
