"""The tokens: interacting particles under attention."""

from meanformer.particles.tokens import TokenSolver

__all__ = ["TokenSolver"]
