"""The density of tokens: discontinuous Galerkin transport and diffusion, and its integrals."""

from meanformer.pde.dg.diffusion import LinearSolverError, PetscOptionError
from meanformer.pde.dg.elements import Elements, InitialDensityError
from meanformer.pde.dg.solver import DensitySolver, PositivityError

__all__ = [
    "DensitySolver",
    "Elements",
    "InitialDensityError",
    "LinearSolverError",
    "PetscOptionError",
    "PositivityError",
]
