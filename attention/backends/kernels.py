"""The kernels k(x, y) that backends sum: functions of the logit t = <Ax, y>."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exponential:
    """k = e^t: softmax, unnormalised, l2 and sinkhorn attention."""


@dataclass(frozen=True)
class Sigmoid:
    """k = 1 / (1 + e^{-(t + offset)}), the logistic function."""

    offset: float = 0.0


@dataclass(frozen=True)
class Hardmax:
    """k = 1 where t is within tie_tolerance |Ax| max|y| of its maximum over y, 0 elsewhere."""

    tie_tolerance: float = 1e-12


@dataclass(frozen=True)
class Linear:
    """k = t."""


Kernel = Exponential | Sigmoid | Hardmax | Linear
