"""Linear attention with a feature map: as cheap as moments, normalised like softmax."""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.kernels import Features
from meanformer.attention.heads import Head
from meanformer.attention.laws.base import Law
from meanformer.attention.matrices import spectral_norm


def log_features(vectors: Array) -> Array:
    """The logarithm of phi(u) = elu(u) + 1, componentwise, ``shape=(n, r)``."""
    logarithms: Array = np.where(vectors > 0, np.log1p(np.maximum(vectors, 0)), vectors)
    return logarithms


class FeatureMap(Law):
    """V int y k mu(dy) / int k mu(dy), k = phi(beta Qx).phi(Ky), phi = elu + 1 (arXiv 2006.16236).

    phi(u) = u + 1 for u > 0, e^u elsewhere, in each component. There is no energy: softmax follows
    one because the gradient of e^{<Ax,y>} in x is the kernel times A^T y, the average's own terms;
    that of k is beta Q^T (phi'(beta Qx) phi(Ky)), which knows y through its features only. Nor is
    k the same in rotated coordinates. phi' jumps in slope at 0: integrators of an order above two
    lose it where a component of Q x changes its sign.
    """

    kernel = Features(log_features)
    has_log_partition = True

    def rate(self, head: Head, spread: Array) -> Array | float:
        """|beta| |Q| and the square root of the spread: weights vary at most that fast.

        The average v = V E[y] has the derivative V Cov[y, g] with g = beta Q^T s the gradient of
        log k. s has the components phi'_a / phi_a p_a, where p_a = phi_a(beta Qx) phi_a(Ky) / k add
        up to 1 and 0 < phi' <= phi: |s| <= 1. So |Cov[y, g]| is at most |beta| |Q| times the
        standard deviation of y. Projection adds 2 |v|.
        """
        return abs(self.beta) * spectral_norm(head.matrices[0]) * np.sqrt(spread) + 2

    def is_isotropic(self, head: Head) -> bool:
        """Features are those of components."""
        return False
