"""Choosing steps by their estimated errors."""

from __future__ import annotations

import math

from meanformer.errors import SolverError

_SAFETY, _LEAST, _MOST = 0.9, 0.2, 10.0
# The error of the last step has this say in the length of the next (Gustafsson's PI control).
_MEMORY = 0.04
_SMALLEST_ERROR = 1e-4


class ToleranceError(SolverError):
    """Steps have become too small to go on: the tolerance cannot be met."""


class StepControl:
    """Lengths of steps, such that errors are at most 1 (Hairer, Norsett, Wanner, I, section II.4).

    Args:
        order: Of the integrator.
        length: Of the first step, positive.

    Attributes:
        length: Of the next step to be tried.
        error: That of the last step taken, at least 1e-4.
        refused: Whether the last step tried was refused.
    """

    def __init__(self, order: int, length: float) -> None:
        self.length, self.error, self.refused = length, _SMALLEST_ERROR, False
        self._exponent = 1 / order

    def accepts(self, error: float) -> bool:
        """Judge a step of ``length`` by its error over the one allowed; sets the next length.

        Args:
            error: Not negative; not finite where a rate is not.
        """
        if not math.isfinite(error):
            self.length, self.refused = self.length * _LEAST, True
            return False
        share = max(error, 1e-16) ** (self._exponent - 0.75 * _MEMORY)
        if error > 1:
            self.length, self.refused = self.length * max(_LEAST, _SAFETY / share), True
            return False
        factor = min(_MOST, max(_LEAST, _SAFETY * self.error**_MEMORY / share))
        self.length *= min(1.0, factor) if self.refused else factor
        self.error, self.refused = max(error, _SMALLEST_ERROR), False
        return True
