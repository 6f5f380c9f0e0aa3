"""Fields for ParaView: the density as VTX (ADIOS2), the tokens as a VTK collection."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import basix
import basix.ufl
import numpy as np
import pyvista as pv
from dolfinx import fem, io

from meanformer.pde import DensitySolver
from meanformer.simulation.controller import Observer
from meanformer.simulation.state import State


class DensityFields(Observer):
    """Write the density to ``density.bp``: open it in ParaView with the VTX reader.

    ParaView draws cells from the function's own nodes, so the density is interpolated into
    equispaced discontinuous elements of at least degree 2.

    Args:
        folder: Where ``density.bp`` goes.
        solver: The density solver.
    """

    def __init__(self, folder: Path, solver: DensitySolver) -> None:
        """Open the file. Collective."""
        domain = solver.density.function_space.mesh
        element = basix.ufl.element(
            "Lagrange",
            "triangle",
            max(2, solver.degree),
            lagrange_variant=basix.LagrangeVariant.equispaced,
            discontinuous=True,
        )
        self._field = fem.Function(fem.functionspace(domain, element), name="density")
        self._writer = io.VTXWriter(domain.comm, folder / "density.bp", self._field, engine="BP4")

    def sample(self, state: State) -> None:
        """Append the present density."""
        assert state.density is not None
        self._field.interpolate(state.density.density)
        self._writer.write(state.density.time)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class TokenFields(Observer):
    """Write the tokens to ``tokens/NNNNN.vtp``, collected with their times in ``tokens.pvd``.

    Args:
        folder: Where ``tokens.pvd`` goes.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is written before the first sample."""
        self._collection = folder / "tokens.pvd"
        self._parts = folder / "tokens"
        self._root = ElementTree.Element("VTKFile", type="Collection", version="0.1")
        self._entries = ElementTree.SubElement(self._root, "Collection")

    def sample(self, state: State) -> None:
        """Append the present tokens, with their global numbers."""
        assert state.tokens is not None
        gathered = state.comm.gather(state.tokens.points)
        if gathered is None:
            return
        cloud = pv.PolyData(np.concatenate(gathered))
        cloud.point_data["number"] = np.arange(cloud.n_points)
        self._parts.mkdir(exist_ok=True)
        part = self._parts / f"{len(self._entries):05d}.vtp"
        cloud.save(part)
        time = repr(float(state.tokens.time))
        relative = part.relative_to(self._collection.parent).as_posix()
        ElementTree.SubElement(self._entries, "DataSet", timestep=time, part="0", file=relative)
        ElementTree.ElementTree(self._root).write(self._collection, xml_declaration=True)
