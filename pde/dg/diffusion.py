r"""Diffusion of a density by the symmetric interior penalty method.

The operator kappa Lap rho has, on flat and curved meshes, the form

    a(rho, phi) = int grad rho . grad phi
                  - int_facets ({d_n rho} [phi] + {d_n phi} [rho] - sigma [rho] [phi]),

with [rho] = rho(+) - rho(-) and {d_n rho} = (grad rho . n (+) - grad rho . n (-)) / 2, n the
co-normal of each cell, symmetric under exchange of the sides. No mass passes a boundary. The
penalty sigma is that of Shahbazi (J. Comput. Phys. 205, 2005), doubled for curved cells.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc

from meanformer.arrays import Array
from meanformer.errors import SolverError
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.forms import compiled, set_values

#: Prefix of this solver's entries in PETSc's options database, such as ``-diffusion_pc_type``.
PREFIX = "diffusion_"
_SAFETY_OF_PENALTY = 2.0


class PetscOptionError(ValueError):
    """PETSc does not know an option, or its value."""


class LinearSolverError(SolverError):
    """PETSc's linear solver did not converge."""


def diffusion_form(density: Any, test: Any, heights: Any, elements: Elements) -> Any:
    """The form a(rho, phi), dimensionless.

    Args:
        density: rho, in elements of degree 1 at least.
        test: phi.
        heights: |K| / max |F| of each cell, a piecewise constant.
        elements: The density's elements.
    """
    normal = ufl.FacetNormal(elements.domain)

    def mean_slope(u: Any) -> Any:
        slopes = [ufl.dot(ufl.grad(u)(side), normal(side)) for side in "+-"]
        return (slopes[0] - slopes[1]) / 2

    def jump(u: Any) -> Any:
        return u("+") - u("-")

    # On each of dim + 1 facets, half for either side (Shahbazi, eq. 8).
    degree, dim = elements.degree, elements.domain.topology.dim
    penalty = (degree + 1) * (degree + dim) * (dim + 1) / (2 * dim) * _SAFETY_OF_PENALTY / 2
    penalty = penalty / ufl.min_value(heights("+"), heights("-"))
    on_facets = mean_slope(density) * jump(test) + mean_slope(test) * jump(density)
    on_facets = on_facets - penalty * jump(density) * jump(test)
    return ufl.inner(ufl.grad(density), ufl.grad(test)) * elements.dx - on_facets * elements.dS


class Diffusion:
    """The operator rho -> Lap rho on the elements, and solutions of (1 - c Lap) rho = r.

    Its PETSc objects are freed by ``close``.

    Args:
        elements: The density's elements, of degree at least 1.

    Attributes:
        iterations: Of the linear solver, in all solutions so far.
        solutions: Number of solutions.

    Raises:
        ValueError: If the degree is 0: the method is not consistent there.
        PetscOptionError: If PETSc refuses an option.
    """

    def __init__(self, elements: Elements) -> None:
        """Assemble the matrices. Collective."""
        if elements.degree < 1:
            raise ValueError("noise needs elements of degree 1 to 3, not 0")
        self._elements = elements
        self._solver = _solver(elements.comm)
        heights = fem.Function(fem.functionspace(elements.domain, ("Discontinuous Lagrange", 0)))
        set_values(heights, elements.heights())
        trial, test = ufl.TrialFunction(elements.space), ufl.TestFunction(elements.space)
        self._stiffness = _assembled(diffusion_form(trial, test, heights, elements))
        self._stiffness.setBlockSize(elements.integrals.shape[1])
        self._mass = _assembled(trial * test * elements.dx)
        self._matrix = PETSc.Mat()
        self._coefficient = np.nan
        self._is_open = True
        self._right, self._solution = self._stiffness.createVecs()
        self.iterations = self.solutions = 0
        self._set_coefficient(1.0)
        try:
            self._solver.setUp()
        except PETSc.Error as error:
            self.close()
            raise PetscOptionError(
                f"PETSc cannot set up the solver of -{PREFIX}...: {error}"
            ) from None

    def __call__(self, values: Array) -> Array:
        """Lap rho, ``shape=(cells, n)``. Collective.

        Raises:
            RuntimeError: After ``close``.
        """
        self.must_be_open()
        self._solution.array[:] = values.ravel()
        self._stiffness.mult(self._solution, self._right)
        return -self._elements.solve_mass(self._right.array_r.reshape(values.shape))

    def solve(self, values: Array, coefficient: float) -> Array:
        """The solution rho of rho - c Lap rho = r, of the same mass. Collective.

        Args:
            values: r, ``shape=(cells, n)``; also where the solver starts.
            coefficient: c, positive.

        Raises:
            LinearSolverError: On every rank, if PETSc's solver does not converge.
            RuntimeError: After ``close``.
        """
        self.must_be_open()
        self._set_coefficient(coefficient)
        self._solution.array[:] = values.ravel()
        self._mass.mult(self._solution, self._right)
        try:
            self._solver.solve(self._right, self._solution)
        except PETSc.Error as error:
            raise LinearSolverError(f"diffusion: PETSc cannot solve: {error}") from None
        reason = self._solver.getConvergedReason()
        if reason <= 0:
            raise LinearSolverError(
                f"diffusion: the linear solver did not converge (PETSc reason {reason}) in "
                f"{self._solver.getIterationNumber()} iterations; change -{PREFIX}ksp_type, "
                f"-{PREFIX}pc_type, -{PREFIX}ksp_max_it or -{PREFIX}ksp_rtol"
            )
        self.iterations += self._solver.getIterationNumber()
        self.solutions += 1
        solution: Array = self._solution.array_r.reshape(values.shape).copy()
        # What the iteration leaves of the residual has a little mass: add it where there is any.
        parts = values, solution, np.abs(solution)
        mine = np.array([np.vdot(self._elements.integrals, part) for part in parts])
        wanted, found, size = self._elements.comm.allreduce(mine)
        if size > 0:
            solution += (wanted - found) / size * parts[2]
        return solution

    def close(self) -> None:
        """Free the PETSc objects, which Python's garbage collector does not. Collective."""
        matrices = self._matrix, self._mass, self._stiffness
        for each in (self._solver, *matrices, self._right, self._solution):
            each.destroy()
        self._is_open = False

    def must_be_open(self) -> None:
        """Raise RuntimeError after ``close``. PETSc's callbacks lose its message: ask before."""
        if not self._is_open:
            raise RuntimeError("the solver is closed: it can take no more steps")

    def _set_coefficient(self, coefficient: float) -> None:
        if coefficient == self._coefficient:
            return
        # A new matrix each time: preconditioners keep parts of an old one (the inverses of its
        # blocks in PETSc 3.25, gamg's grids), and a resumed run would differ by round-off.
        self._matrix.destroy()
        self._matrix = self._stiffness.duplicate(copy=True)
        self._matrix.setOption(PETSc.Mat.Option.SPD, True)
        self._matrix.scale(coefficient)
        self._matrix.axpy(1.0, self._mass, PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN)
        self._solver.setOperators(self._matrix)
        self._coefficient = coefficient


def _assembled(form: Any) -> PETSc.Mat:
    """The matrix of a bilinear form. Collective."""
    matrix = fem_petsc.assemble_matrix(compiled(form))
    matrix.assemble()
    return matrix


def _solver(comm: MPI.Intracomm) -> PETSc.KSP:
    """With our defaults, and over them what the user put into PETSc's options database.

    Conjugate gradients, preconditioned by the cells' blocks: steps that transport allows are short,
    and iterations do not depend on the number of ranks.
    """
    solver = PETSc.KSP().create(comm)
    solver.setOptionsPrefix(PREFIX)
    solver.setType(PETSc.KSP.Type.CG)
    solver.getPC().setType(PETSc.PC.Type.PBJACOBI)
    solver.setTolerances(rtol=1e-13, max_it=5000)
    solver.setInitialGuessNonzero(True)
    try:
        solver.setFromOptions()
        if solver.getType() == PETSc.KSP.Type.PREONLY:
            solver.setInitialGuessNonzero(False)
    except PETSc.Error as error:
        solver.destroy()
        raise PetscOptionError(f"PETSc refuses an option -{PREFIX}...: {error}") from None
    return solver
