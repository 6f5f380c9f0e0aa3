"""The density of tokens: discontinuous Galerkin transport, its limiter and its integrals."""

from meanformer.pde.density import DensitySolver, InitialDensityError, PositivityError

__all__ = ["DensitySolver", "InitialDensityError", "PositivityError"]
