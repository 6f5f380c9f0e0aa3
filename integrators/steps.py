"""Dividing an interval of time into equal steps."""

from __future__ import annotations

import math

from meanformer.errors import SolverError

_MOST_STEPS = 1e7
# Numbers that are the same to this share of them are so for whoever wrote them.
_SAME = 1e-9


class StepTooSmallError(SolverError):
    """The next sample is more than ten million steps away: the run would never end."""


def equal_steps(remaining: float, largest: float) -> int:
    """The least number of equal steps, none longer than ``largest``, that cover an interval.

    Args:
        remaining: Length of the interval, positive.
        largest: Longest step allowed; may be infinite.

    Raises:
        StepTooSmallError: If more than 1e7 steps would be needed, or ``largest`` is not a number.
    """
    ratio = remaining / largest if largest > 0 else math.inf
    if not ratio <= _MOST_STEPS:
        raise StepTooSmallError(f"steps of {largest:.3g} are too small to go on by {remaining:.3g}")
    # A ratio that is whole up to round-off needs no further step.
    return max(1, math.ceil(ratio - 1e-9))


def is_multiple(length: float, step: float) -> bool:
    """Whether a positive length is a whole multiple of a step, at least one, to 1e-9 of it."""
    count = max(1, round(length / step))
    return abs(length - count * step) <= _SAME * length
