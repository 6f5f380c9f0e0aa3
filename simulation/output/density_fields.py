"""Fields of the density for ParaView, in the formats a case asks for."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

from dolfinx import fem

from meanformer.pde import DensitySolver
from meanformer.pde.nodal_fields import NodalFields
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.density_vtu import DensityVtu
from meanformer.simulation.output.density_vtx import DensityVtx
from meanformer.simulation.state import State


class DensityFields(Observer):
    """Write the density and what moves it, see ``NodalFields``.

    Args:
        folder: Where files go.
        solver: The density solver.
        formats: "vtu" for ``density.pvd``, "vtx" for ``density.bp``, or both.
        samples: Samples of the run that goes on.
        sampled: Time of the last of them.
    """

    def __init__(
        self,
        folder: Path,
        solver: DensitySolver,
        formats: Collection[str],
        samples: int = 0,
        sampled: float = -math.inf,
    ) -> None:
        """There is no file before the first sample. Collective."""
        self._solver, self._fields = solver, NodalFields(solver)
        space = fem.functionspace(solver.elements.domain, self._fields.element)
        self._writers: list[DensityVtu | DensityVtx] = []
        if "vtu" in formats:
            self._writers.append(DensityVtu(folder, space, samples, sampled))
        if "vtx" in formats:
            self._writers.append(DensityVtx(folder, space))

    def sample(self, state: State) -> None:
        """Append the present fields.

        Raises:
            AttentionDomainError: If the velocity is undefined.
            OSError: If a file cannot be written.
        """
        fields = self._fields()
        for writer in self._writers:
            writer.write(self._solver.time, fields)

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers:
            writer.close()
