"""What stops a solver."""

from __future__ import annotations


class SolverError(ArithmeticError):
    """A solver cannot go on from its present state; raised on every rank at once."""
