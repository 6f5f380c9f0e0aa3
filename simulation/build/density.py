"""From a case to the mesh and the density solver it describes."""

from __future__ import annotations

from meanformer.mpi import MPI

from meanformer.attention import Model
from meanformer.pde import DensitySolver, InitialDensityError, PetscOptionError
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.case.tables import PdeTable
from meanformer.simulation.build.initial import initial_measure
from meanformer.simulation.build.mesh import build_mesh

_LARGEST_MASS_ERROR = 0.02


def build_density(
    case: Case, pde: PdeTable, attention: Model, step: float | None, comm: MPI.Intracomm
) -> tuple[DensitySolver, str]:
    """Make the mesh and the density on it. Collective over ``comm``.

    Args:
        case: The case.
        pde: Its ``[pde]``.
        attention: The model.
        step: A fixed time step, or None for an automatic one.
        comm: The ranks.

    Returns:
        The solver, and what to say of mass that leaves through the boundary of its mesh.

    Raises:
        CaseError: On every rank, if a mesh file cannot be used, the mesh does not resolve the
            initial density, or PETSc refuses an option.
    """
    domain, advice = build_mesh(pde, case.space, case.title, comm)
    measure = initial_measure(case.initial, case.space.dimension)
    try:
        solver = DensitySolver(
            domain,
            attention,
            pde.degree,
            measure.density,
            step,
            temperature=case.noise.temperature,
            boundary=pde.boundary or "outflow",
        )
    except InitialDensityError as error:
        raise _unresolved(pde, str(error)) from None
    except PetscOptionError as error:
        raise CaseError([f"--petsc: {error}"], "command line") from None
    if abs(solver.initial_mass - 1) > _LARGEST_MASS_ERROR:
        mass = solver.initial_mass
        solver.close()
        raise _unresolved(pde, f"its mass on the mesh is {mass:.4g}, not 1", mass < 1)
    return solver, advice


def _unresolved(table: PdeTable, why: str, outside: bool = False) -> CaseError:
    """What to do about a start that is not on the mesh; ``outside``: some of it may be beyond."""
    if table.mesh is not None:
        mesh, need = f"pde.mesh = {table.mesh!r}", "the mesh finer"
        need += " or larger" if outside else ""
    elif table.half_width is not None:
        mesh = f"pde.refinement = {table.refinement}, pde.half_width = {table.half_width:g}"
        need = "pde.refinement larger, or pde.half_width "
        need += "(if it does not hold the mass) larger" if outside else "smaller"
    else:
        mesh, need = f"pde.refinement = {table.refinement}", "pde.refinement larger"
    return CaseError(
        [f"initial: the mesh of {mesh} does not resolve it: {why}; must be smoother, or {need}"]
    )
