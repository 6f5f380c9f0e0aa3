"""Series of VTK files over time, collected in a ``.pvd``."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pyvista as pv
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter, vtkXMLUnstructuredGridWriter

from meanformer.simulation.output.folder import replace_file
from meanformer.simulation.output.resume import Start


class Series:
    """``STEM.pvd``: the files ``STEM/NNNNN...`` of each sample NNNNN, with their times.

    It names no file that is not there, whenever the run is killed.

    Args:
        folder: Where ``STEM.pvd`` goes.
        stem: STEM.
        start: Where the run starts: what is in ``STEM.pvd`` up to there is kept.
    """

    def __init__(self, folder: Path, stem: str, start: Start) -> None:
        self._collection, self._parts = folder / f"{stem}.pvd", folder / stem
        self._is_open, self._sample, self._sampled = False, start.samples, start.sampled
        self._root = ET.Element("VTKFile", type="Collection", version="0.1")
        self._entries = ET.SubElement(self._root, "Collection")

    def open(self) -> None:
        """Before the first sample make room for it: what a former run left from there on goes.

        Raises:
            OSError: If files cannot be changed, or the collection is damaged, as it may be after a
                power failure.
        """
        if self._is_open:
            return
        if self._collection.exists():
            self._entries.extend(self._former())
            self._write()
        self._parts.mkdir(exist_ok=True)
        for path in self._parts.iterdir():
            number = re.match(r"\d+", path.name)
            if number is not None and int(number[0]) >= self._sample:
                path.unlink()
        self._is_open = True

    def path(self, suffix: str) -> Path:
        """Where a file of the next sample goes."""
        return self._parts / f"{self._sample:05d}{suffix}"

    def append(self, time: float, suffix: str, content: bytes) -> None:
        """Write the file to open of the next sample, whose others are written, and add it.

        Raises:
            OSError: If it or the collection cannot be written.
        """
        path = self.path(suffix)
        replace_file(path, content, durable=False)
        moment, relative = repr(float(time)), path.relative_to(self._collection.parent).as_posix()
        ET.SubElement(self._entries, "DataSet", timestep=moment, part="0", file=relative)
        self._write()

    def advance(self) -> None:
        """Go on to the next sample, on ranks that share its files."""
        self._sample += 1

    def _former(self) -> list[ET.Element]:
        """What is in the collection, up to the last sample."""
        try:
            entries = ET.parse(self._collection).iter("DataSet")
            return [e for e in entries if float(e.attrib["timestep"]) <= self._sampled]
        except (ET.ParseError, KeyError, ValueError) as error:
            raise OSError(
                f"{self._collection} is damaged: {error}; without it, the run goes on with another"
            ) from None

    def _write(self) -> None:
        collection = ET.tostring(self._root, xml_declaration=True)
        replace_file(self._collection, collection, durable=False)


def encoded(data: pv.PolyData | pv.UnstructuredGrid) -> bytes:
    """A VTK XML file of points or cells: binary, compressed."""
    # VTK would leave half a file on a full disk and say nothing.
    cells = isinstance(data, pv.UnstructuredGrid)
    writer = vtkXMLUnstructuredGridWriter() if cells else vtkXMLPolyDataWriter()
    writer.SetInputData(data)
    writer.WriteToOutputStringOn()
    writer.SetDataModeToAppended()
    writer.SetEncodeAppendedData(False)
    writer.SetCompressorTypeToLZ4()
    writer.Write()
    content: bytes | str = writer.GetOutputString()
    return content.encode() if isinstance(content, str) else content
