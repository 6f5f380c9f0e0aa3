"""Fields of a density as an ADIOS2 folder with the VTX schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import basix.ufl
from dolfinx import fem, io

from meanformer.arrays import Array
from meanformer.pde.ghostless import without_ghosts


class DensityVtx:
    """``density.bp``: open it in ParaView with the VTX reader.

    Each cell is there once, on any number of ranks. Such a file cannot be continued: a run that
    goes on writes ``density-2.bp``, ``density-3.bp``, ... Of two files that hold the same times,
    the later one counts.

    Args:
        folder: Where ``density.bp`` goes.
        space: The scalar elements of the fields.
    """

    def __init__(self, folder: Path, space: fem.FunctionSpace) -> None:
        """Copy the mesh; there is no file before the first sample. Collective."""
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
        """Append a sample, always of the same fields. Collective.

        Args:
            time: Its time.
            fields: By name, in the order of the space, ``shape=(cells, n)`` or ``(cells, n, 3)``.
        """
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


def _first_free(folder: Path) -> Path:
    """``density.bp``, or the first of ``density-2.bp``, ... that is not there."""
    path, number = folder / "density.bp", 2
    while path.exists():
        path, number = folder / f"density-{number}.bp", number + 1
    return path
