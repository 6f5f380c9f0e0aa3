"""The density of tokens: discontinuous Galerkin transport and diffusion, and its integrals."""

from meanformer.pde.density import DensitySolver, PositivityError
from meanformer.pde.diffusion import LinearSolverError, PetscOptionError
from meanformer.pde.elements import Elements, InitialDensityError

__all__ = [
    "DensitySolver",
    "Elements",
    "InitialDensityError",
    "LinearSolverError",
    "PetscOptionError",
    "PositivityError",
]
