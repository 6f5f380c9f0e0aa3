"""Fields of the tokens for ParaView: a VTK collection over time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pyvista as pv

from meanformer.arrays import Array
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.folder import on_root
from meanformer.simulation.output.resume import Start
from meanformer.simulation.output.vtk_series import Series, encoded
from meanformer.simulation.state import State
from meanformer.systems import Systems


class TokenFields(Observer):
    """Write the tokens to ``tokens/NNNNN.vtp``, collected with their times in ``tokens.pvd``.

    Points have the fields ``number``, their global one, ``velocity``, and of several systems
    ``system``, the number of theirs.
    """

    def __init__(self, folder: Path, start: Start) -> None:
        self._series = Series(folder, "tokens", start)

    def sample(self, state: State) -> None:
        """Append the present tokens."""
        tokens = state.tokens
        assert tokens is not None
        mine = np.stack([tokens.points, tokens.velocity()])
        shares = state.comm.gather(mine) or []
        on_root(state.comm, partial(self._append, tokens.time, shares, tokens.systems))

    def _append(self, time: float, shares: list[Array], systems: Systems) -> None:
        self._series.open()
        points, velocity = np.concatenate(shares, axis=1)
        cloud = pv.PolyData(_placed(points))
        cloud.point_data["number"] = np.arange(cloud.n_points)
        if systems.count > 1:
            cloud.point_data["system"] = np.arange(cloud.n_points) // systems.number
        cloud.point_data["velocity"] = _placed(velocity)
        self._series.append(time, ".vtp", encoded(cloud))
        self._series.advance()


def _placed(vectors: Array) -> Array:
    """Vectors in the three coordinates of VTK, ``shape=(n, 3)``; of more, the first three."""
    placed = np.zeros((len(vectors), 3))
    placed[:, : vectors.shape[1]] = vectors[:, :3]
    return placed
