"""Fields of a density as VTK files, one a rank and sample, which every ParaView reads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import pyvista as pv
from dolfinx import cpp, fem, mesh

from meanformer.arrays import Array
from meanformer.simulation.output.folder import on_each, on_root, replace_file
from meanformer.simulation.output.vtk_series import Series, encoded


class DensityVtu:
    """``density.pvd``, a series of ``density/NNNNN.pvtu``, each of a piece ``.vtu`` a rank.

    Pieces hold the cells their rank owns, so that each cell is there once: triangles and tetrahedra
    as Lagrange cells of the fields' degree, intervals as straight lines from node to node. The
    density and points are in double precision, other fields in single.

    Args:
        folder: Where ``density.pvd`` goes.
        space: The scalar elements of the fields.
        samples: Samples of the run that goes on.
        sampled: Time of the last of them: what is in ``density.pvd`` up to there is kept.
    """

    def __init__(
        self, folder: Path, space: fem.FunctionSpace, samples: int, sampled: float
    ) -> None:
        """Nothing is written before the first sample."""
        self._comm = space.mesh.comm
        self._series = Series(folder, "density", samples, sampled)
        self._is_open = False
        topology = space.mesh.topology
        dofs = space.dofmap.list[: topology.index_map(topology.dim).size_local]
        count, size = dofs.shape
        self._order, kind = _vtk_cell(topology, size)
        self._points = space.tabulate_dof_coordinates()[dofs[:, self._order]].reshape(-1, 3)
        numbers = np.arange(count * size).reshape(count, size)
        self._cells = np.column_stack([np.full(count, size), numbers]).ravel()
        self._kinds = np.full(count, kind, np.uint8)

    def write(self, time: float, fields: Mapping[str, Array]) -> None:
        """Append a sample. Collective.

        Args:
            time: Its time.
            fields: By name, in the order of the space, ``shape=(cells, n)`` or ``(cells, n, 3)``.

        Raises:
            OSError: On every rank, if any cannot write.
        """
        if not self._is_open:
            on_root(self._comm, self._series.open)
            self._is_open = True
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
        path = self._series.path(".pvtu")
        replace_file(path, ET.tostring(root, xml_declaration=True), durable=False)
        self._series.append(time, path)


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
