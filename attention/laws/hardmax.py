"""Hardmax: softmax at infinite beta, a law of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.kernels import Indicator
from meanformer.attention.heads import Head
from meanformer.attention.laws.base import Law


@dataclass(frozen=True)
class Hardmax(Law):
    """Average of V y over the maximisers of <Ax,y> (arXiv 2407.01602)."""

    tie_tolerance: float = field(default=1e-12, metadata={"least": 0.0})

    of_tokens = True

    @property
    def kernel(self) -> Indicator:
        """1 at the maximisers."""
        return Indicator(self.tie_tolerance)

    @property
    def scale(self) -> float:
        """Maximisers know the sign of beta only."""
        return float(np.sign(self.beta))

    def rate(self, head: Head, spread: Array) -> Array | float:
        """The velocity is constant between jumps; projection and V remain."""
        return 2.0
