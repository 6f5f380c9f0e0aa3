"""From a case to the mesh and the density on it, with the observers that know its elements."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from meanformer.mpi import MPI

from meanformer.arrays import Array
from meanformer.attention import Model
from meanformer.meshes.compat import DOLFINX_VERSION
from meanformer.pde import DensitySolver, InitialDensityError, PetscOptionError
from meanformer.pde.dg.l2_distance import l2_distance
from meanformer.simulation.builders.mesh import build_mesh
from meanformer.simulation.builders.model import initial_measure
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.case.tables import PdeTable
from meanformer.simulation.controller import Observer
from meanformer.simulation.observers.density_diagnostics import (
    DensityDiagnostics,
    ObservedDensity,
)
from meanformer.simulation.observers.guards import OutflowGuard
from meanformer.simulation.observers.resolution_guard import ResolutionGuard
from meanformer.simulation.output.density_fields import DensityFields
from meanformer.simulation.output.resume import Start
from meanformer.simulation.output.tables import Table

_LARGEST_MASS_ERROR = 0.02


class DgScheme:
    """The density of a case with ``[pde]`` by discontinuous Galerkin elements: a ``Scheme``.

    Its ``step`` is None for an automatic one.

    Raises:
        CaseError: On every rank, if a mesh file cannot be used, the mesh does not resolve the
            initial density, or PETSc refuses an option.
    """

    def __init__(
        self, case: Case, attention: Model, step: float | None, comm: MPI.Intracomm
    ) -> None:
        """Make the mesh and the density on it. Collective."""
        assert case.pde is not None
        self._case, self._pde, self._attention = case, case.pde, attention
        self.versions = {"dolfinx": DOLFINX_VERSION}
        domain, self._advice = build_mesh(case.pde, case.space, case.title, comm)
        measure = initial_measure(case.initial, case.space.dimension)
        try:
            self.solver = DensitySolver(
                domain,
                attention,
                case.pde.degree,
                measure.density,
                step,
                temperature=case.noise.temperature,
                boundary=case.pde.boundary or "outflow",
            )
        except InitialDensityError as error:
            raise _unresolved(case.pde, str(error)) from None
        except PetscOptionError as error:
            raise CaseError([f"--petsc: {error}"], "command line") from None
        mass = self.solver.initial_mass
        if abs(mass - 1) > _LARGEST_MASS_ERROR:
            self.solver.close()
            raise _unresolved(case.pde, f"its mass on the mesh is {mass:.4g}, not 1", mass < 1)

    def limits(self) -> list[Observer]:
        """Of the mass that may leave a mesh with a boundary."""
        largest = self._pde.largest_outflow
        return [] if largest is None else [OutflowGuard(self.solver, largest, self._advice)]

    def diagnostics(self, table: Table) -> DensityDiagnostics:
        """What fills ``pde.csv``."""
        return DensityDiagnostics(table, ObservedDensity(self.solver, self._attention))

    def fields(self, folder: Path, formats: Collection[str], start: Start) -> DensityFields:
        """What writes ``density.pvd``, ``density.bp`` or both. Collective."""
        return DensityFields(folder, self.solver, formats, start)

    def resolution(self, table: Table) -> ResolutionGuard:
        """What looks at the jumps at facets."""
        return ResolutionGuard(table, self._case)

    def l2_distance(self, density: Callable[[Array], Array]) -> float:
        """The L2 norm of the difference from a formula. Collective."""
        return l2_distance(self.solver, density)


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
