"""Sigmoid attention: each point weighs what its own logit says."""

from __future__ import annotations

from dataclasses import dataclass

from meanformer.arrays import Array
from meanformer.attention.backends.kernels import Logistic
from meanformer.attention.heads import Head
from meanformer.attention.laws.base import Law


@dataclass(frozen=True)
class Sigmoid(Law):
    """V int s(<Ax,y> + c) y mu(dy), s the logistic function, c the offset (arXiv 2409.04431)."""

    offset: float = 0.0

    normalised = False

    @property
    def kernel(self) -> Logistic:
        """s(<Ax,y> + c)."""
        return Logistic(self.offset)

    def rate(self, head: Head, spread: Array) -> Array | float:
        """The slope of s is at most 1/4, and s at most 1."""
        return self._logits(head, spread) / 4 + 2
