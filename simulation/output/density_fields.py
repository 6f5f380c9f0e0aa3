"""Fields of the density for ParaView, in the formats a case asks for.

Fields of a sample are arrays by name, ``shape=(cells, n)`` or ``(cells, n, 3)``, in the order of a
space: values on this rank's cells at the nodes of the space's scalar elements.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import basix.ufl
import numpy as np
import numpy.typing as npt
import pyvista as pv
from dolfinx import cpp, fem, io, mesh

from meanformer.arrays import Array
from meanformer.pde import DensitySolver
from meanformer.pde.ghostless import without_ghosts
from meanformer.pde.nodal_fields import NodalFields
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.folder import on_each, on_root, replace_file
from meanformer.simulation.output.resume import Start
from meanformer.simulation.output.vtk_series import Series, encoded
from meanformer.simulation.state import State


class DensityFields(Observer):
    """Write the density and what moves it, see ``NodalFields``. To make one is collective.

    Args:
        folder: Where files go.
        solver: The density solver.
        formats: "vtu" for ``density.pvd``, "vtx" for ``density.bp``, or both.
        start: Where the run starts.
    """

    def __init__(
        self,
        folder: Path,
        solver: DensitySolver,
        formats: Collection[str],
        start: Start = Start(),
    ) -> None:
        self._solver, self._fields = solver, NodalFields(solver)
        space = fem.functionspace(solver.elements.domain, self._fields.element)
        self._writers: list[DensityVtu | DensityVtx] = []
        if "vtu" in formats:
            self._writers.append(DensityVtu(folder, space, start))
        if "vtx" in formats:
            self._writers.append(DensityVtx(folder, space))

    def sample(self, state: State) -> None:
        """Append the present fields."""
        fields = self._fields()
        for writer in self._writers:
            writer.write(self._solver.time, fields)

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers:
            writer.close()


class DensityVtu:
    """``density.pvd``, a series of ``density/NNNNN.pvtu``, each of a piece ``.vtu`` a rank.

    Pieces hold the cells their rank owns, so that each cell is there once: triangles and tetrahedra
    as Lagrange cells of the fields' degree, intervals as straight lines from node to node. The
    density and points are in double precision, other fields in single.
    """

    def __init__(self, folder: Path, space: fem.FunctionSpace, start: Start) -> None:
        self._comm = space.mesh.comm
        self._series = Series(folder, "density", start)
        topology = space.mesh.topology
        dofs = space.dofmap.list[: topology.index_map(topology.dim).size_local]
        count, size = dofs.shape
        self._order, kind = _vtk_cell(topology, size)
        self._points = space.tabulate_dof_coordinates()[dofs[:, self._order]].reshape(-1, 3)
        numbers = np.arange(count * size).reshape(count, size)
        self._cells = np.column_stack([np.full(count, size), numbers]).ravel()
        self._kinds = np.full(count, kind, np.uint8)

    def write(self, time: float, fields: Mapping[str, Array]) -> None:
        """Append a sample; an OSError of any rank is raised on all. Collective."""
        on_root(self._comm, self._series.open)
        arrays = {
            name: values[:, self._order]
            .reshape(-1, *values.shape[2:])
            .astype(np.float64 if name == "density" else np.float32)
            for name, values in fields.items()
        }
        on_each(self._comm, partial(self._write_piece, arrays))
        on_root(self._comm, partial(self._write_index, time, arrays))
        self._series.advance()

    def close(self) -> None:
        """Do nothing: every sample is complete."""

    def _write_piece(self, arrays: Mapping[str, np.ndarray]) -> None:
        # Made anew: VTK notes in arrays what it has seen of them, and writes that, too.
        piece = pv.UnstructuredGrid(self._cells, self._kinds, self._points)
        for name, values in arrays.items():
            # pyvista takes no vectors of a rank without cells; VTK does.
            piece.GetPointData().AddArray(pv.convert_array(values, name))
        replace_file(self._piece(self._comm.rank), encoded(piece), durable=False)

    def _piece(self, rank: int) -> Path:
        return self._series.path(f"_{rank}.vtu")

    def _write_index(self, time: float, arrays: Mapping[str, np.ndarray]) -> None:
        """Write what names the pieces, which hold such arrays, and add it to the series."""
        root = ET.Element("VTKFile", type="PUnstructuredGrid", version="0.1")
        grid = ET.SubElement(root, "PUnstructuredGrid", GhostLevel="0")
        data = ET.SubElement(grid, "PPointData", Scalars="density")
        for name, values in arrays.items():
            _declare(data, values, name)
        _declare(ET.SubElement(grid, "PPoints"), self._points)
        for rank in range(self._comm.size):
            ET.SubElement(grid, "Piece", Source=self._piece(rank).name)
        self._series.append(time, ".pvtu", ET.tostring(root, xml_declaration=True))


class DensityVtx:
    """``density.bp``: open it in ParaView with the VTX reader.

    Each cell is there once, on any number of ranks. Such a file cannot be continued: a run that
    goes on writes ``density-2.bp``, ``density-3.bp``, ... Of two files that hold the same times,
    the later one counts.
    """

    def __init__(self, folder: Path, space: fem.FunctionSpace) -> None:
        """Copy the mesh. Collective."""
        self._folder = folder
        self._mesh, self._cells = without_ghosts(space.mesh)
        scalar = space.ufl_element()
        self._spaces = {
            2: fem.functionspace(self._mesh, scalar),
            3: fem.functionspace(self._mesh, basix.ufl.blocked_element(scalar, shape=(3,))),
        }
        self._functions: dict[str, fem.Function] = {}
        self._writer: io.VTXWriter | None = None

    def write(self, time: float, fields: Mapping[str, Array]) -> None:
        """Append a sample, always of the same fields. Collective."""
        if self._writer is None:
            comm = self._mesh.comm
            path = comm.bcast(_first_free(self._folder) if comm.rank == 0 else None)
            self._functions = {
                name: fem.Function(self._spaces[values.ndim], name=name)
                for name, values in fields.items()
            }
            functions = list(self._functions.values())
            self._writer = io.VTXWriter(comm, path, functions, engine="BP4")
        for name, function in self._functions.items():
            dofs = function.function_space.dofmap.list
            values = fields[name][self._cells]
            function.x.array.reshape(-1, *values.shape[2:])[dofs] = values
        self._writer.write(time)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


def _vtk_cell(topology: mesh.Topology, nodes: int) -> tuple[npt.NDArray[np.intp], int]:
    """VTK's order of the nodes of a Lagrange element, and its type of cell."""
    if topology.dim == 1:
        # ParaView 5.11 crashes at curves of higher degree; VTK 9.7 integrates wrongly over them.
        return np.array([0, *range(2, nodes), 1]), pv.CellType.POLY_LINE
    order = np.argsort(cpp.io.perm_vtk(topology.cell_type, nodes))
    return order, cpp.io.get_vtk_cell_type(topology.cell_type, topology.dim)


def _declare(parent: ET.Element, values: np.ndarray, name: str = "Points") -> None:
    """Say of which kind the arrays of the pieces are."""
    kind, components = f"Float{8 * values.dtype.itemsize}", 1 if values.ndim == 1 else 3
    ET.SubElement(parent, "PDataArray", type=kind, Name=name, NumberOfComponents=str(components))


def _first_free(folder: Path) -> Path:
    """``density.bp``, or the first of ``density-2.bp``, ... that is not there."""
    path, number = folder / "density.bp", 2
    while path.exists():
        path, number = folder / f"density-{number}.bp", number + 1
    return path
