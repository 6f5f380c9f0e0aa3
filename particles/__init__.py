"""The tokens: interacting particles under attention."""

from meanformer.particles.ensemble import TokenEnsemble, deal_out
from meanformer.particles.tokens import TokenSolver

__all__ = ["TokenEnsemble", "TokenSolver", "deal_out"]
