"""The tokens for ParaView, as a VTK collection."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyvista as pv

from meanformer.simulation.controller import Observer
from meanformer.simulation.folder import replace_file
from meanformer.simulation.state import State


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
