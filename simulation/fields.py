"""Fields for ParaView: the density as VTX (ADIOS2), the tokens as a VTK collection."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree as ET

import basix
import basix.ufl
import numpy as np
import pyvista as pv
from dolfinx import fem, io

from meanformer.pde import DensitySolver
from meanformer.pde.ghostless import Ghostless
from meanformer.simulation.controller import Observer
from meanformer.simulation.folder import replace_file
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


class TokenFields(Observer):
    """Write the tokens to ``tokens/NNNNN.vtp``, collected with their times in ``tokens.pvd``.

    Args:
        folder: Where ``tokens.pvd`` goes.
        sampled: Time of the last sample of the run that goes on: what is in ``tokens.pvd`` up to
            there is kept.
    """

    def __init__(self, folder: Path, sampled: float = -math.inf) -> None:
        """Nothing is written before the first sample."""
        self._collection = folder / "tokens.pvd"
        self._parts = folder / "tokens"
        self._root = ET.Element("VTKFile", type="Collection", version="0.1")
        self._entries = ET.SubElement(self._root, "Collection")
        if sampled >= 0 and self._collection.exists():
            former = ET.parse(self._collection).iter("DataSet")
            self._entries.extend(e for e in former if float(e.get("timestep", "nan")) <= sampled)

    def sample(self, state: State) -> None:
        """Append the present tokens, with their global numbers."""
        assert state.tokens is not None
        gathered = state.comm.gather(state.tokens.points)
        if gathered is None:
            return
        points = np.concatenate(gathered)
        # VTK knows three coordinates; of more, the first three are drawn.
        placed = np.zeros((len(points), 3))
        placed[:, : points.shape[1]] = points[:, :3]
        cloud = pv.PolyData(placed)
        cloud.point_data["number"] = np.arange(cloud.n_points)
        self._parts.mkdir(exist_ok=True)
        part = self._parts / f"{len(self._entries):05d}.vtp"
        cloud.save(part)
        time = repr(float(state.tokens.time))
        relative = part.relative_to(self._collection.parent).as_posix()
        ET.SubElement(self._entries, "DataSet", timestep=time, part="0", file=relative)
        collection = ET.tostring(self._root, xml_declaration=True)
        replace_file(self._collection, collection, durable=False)


def _first_free(folder: Path) -> Path:
    """``density.bp``, or the first of ``density-2.bp``, ... that is not there."""
    path, number = folder / "density.bp", 2
    while path.exists():
        path, number = folder / f"density-{number}.bp", number + 1
    return path
