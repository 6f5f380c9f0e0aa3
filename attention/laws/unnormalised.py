"""Softmax without its denominator."""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.heads import Head
from meanformer.attention.laws.base import Affine
from meanformer.attention.laws.softmax import Softmax


class Unnormalised(Softmax):
    """V int y e^{<Ax,y>} mu(dy) (arXiv 2312.10794)."""

    normalised = False

    def size(self, mass: float, partition: Array, log_scale: Array) -> Array:
        """The largest Z."""
        largest: Array = (np.abs(partition) * np.exp(log_scale)).max(axis=1, initial=0.0)
        return largest

    def affine(self, head: Head, mean: Array, covariance: Array) -> Affine | None:
        """Normal distributions do not stay normal."""
        return None
