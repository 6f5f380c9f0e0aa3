"""The density for ParaView, as VTX (ADIOS2)."""

from __future__ import annotations

from pathlib import Path

import basix
import basix.ufl
from dolfinx import fem, io

from meanformer.pde import DensitySolver
from meanformer.pde.ghostless import Ghostless
from meanformer.simulation.controller import Observer
from meanformer.simulation.state import State


class DensityFields(Observer):
    """Write the density to ``density.bp``: open it in ParaView with the VTX reader.

    ParaView draws cells from the function's own nodes, so the density is interpolated into
    equispaced discontinuous elements of at least degree 2. Each cell is there once, on any number
    of ranks.

    Such a file cannot be continued: a run that goes on writes ``density-2.bp``, ``density-3.bp``,
    ... Of two files that hold the same times, the later one counts.

    Args:
        folder: Where ``density.bp`` goes.
        solver: The density solver.
    """

    def __init__(self, folder: Path, solver: DensitySolver) -> None:
        """Make the field; there is no file before the first sample. Collective."""
        domain = solver.density.function_space.mesh
        element = basix.ufl.element(
            "Lagrange",
            domain.basix_cell(),
            max(2, solver.degree),
            lagrange_variant=basix.LagrangeVariant.equispaced,
            discontinuous=True,
        )
        self._field = fem.Function(fem.functionspace(domain, element), name="density")
        self._written = Ghostless(self._field)
        self._folder = folder
        self._writer: io.VTXWriter | None = None

    def sample(self, state: State) -> None:
        """Append the present density."""
        assert state.density is not None
        if self._writer is None:
            path = state.comm.bcast(_first_free(self._folder) if state.comm.rank == 0 else None)
            self._writer = io.VTXWriter(state.comm, path, self._written.function, engine="BP4")
        self._field.interpolate(state.density.density)
        self._written.update()
        self._writer.write(state.density.time)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


def _first_free(folder: Path) -> Path:
    """``density.bp``, or the first of ``density-2.bp``, ... that is not there."""
    path, number = folder / "density.bp", 2
    while path.exists():
        path, number = folder / f"density-{number}.bp", number + 1
    return path
