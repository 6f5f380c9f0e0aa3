"""The MSH file format of gmsh: versions 2.2 and 4.1, in text and in binary.

Source: Gmsh reference manual, "Gmsh file formats" (gmsh.info/doc/texinfo/gmsh.html).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array, Indices


class ElementType(NamedTuple):
    """A kind of element: its shape, dimension, polynomial degree, and number of nodes."""

    shape: str
    dimension: int
    degree: int
    nodes: int


# Of each shape and dimension the number of a type, its degree, and its number of nodes.
_OF_SHAPES = {
    ("point", 0): [(15, 1, 1)],
    ("interval", 1): [(1, 1, 2), (8, 2, 3), (26, 3, 4), (27, 4, 5)],
    ("triangle", 2): [(2, 1, 3), (9, 2, 6), (21, 3, 10), (23, 4, 15)],
    ("quadrilateral", 2): [(3, 1, 4), (10, 2, 9), (16, 2, 8)],
    ("tetrahedron", 3): [(4, 1, 4), (11, 2, 10), (29, 3, 20), (30, 4, 35)],
    ("hexahedron", 3): [(5, 1, 8), (12, 2, 27), (17, 2, 20)],
    ("prism", 3): [(6, 1, 6), (13, 2, 18), (18, 2, 15)],
    ("pyramid", 3): [(7, 1, 5), (14, 2, 14), (19, 2, 13)],
}
_TYPES = {
    number: ElementType(*shape, degree, nodes)
    for shape, types in _OF_SHAPES.items()
    for number, degree, nodes in types
}


class Elements(NamedTuple):
    """Elements of one type that follow each other in a file."""

    kind: ElementType
    nodes: Indices  # numbers of the points, in gmsh's order, shape=(elements, kind.nodes)


def read_msh(path: str | Path) -> tuple[Array, list[Elements]]:
    """Nodes and elements of all dimensions, in the order of the file.

    Returns:
        The points, ``shape=(points, 3)``, and the elements.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is of another format, or damaged.
    """
    data = Path(path).read_bytes()
    header, _, rest = _section(data, "MeshFormat").partition(b"\n")
    words = header.decode(errors="replace").split()
    if len(words) != 3 or words[1] not in ("0", "1") or words[2] not in ("4", "8"):
        raise ValueError("what follows $MeshFormat is no version, 0 or 1, and 4 or 8")
    version, types = words[0], None
    if words[1] == "1":
        if rest[:4] not in (b"\1\0\0\0", b"\0\0\0\1"):
            raise ValueError("it does not tell its order of bytes")
        order = "<" if rest[:1] == b"\1" else ">"
        types = {"int": f"{order}i4", "size": f"{order}u{words[2]}", "float": f"{order}f8"}
    nodes, elements = _section(data, "Nodes"), _section(data, "Elements")
    if version == "4.1":
        tags, points = _nodes_4(_Numbers("Nodes", nodes, types))
        blocks = _elements_4(_Numbers("Elements", elements, types))
    elif version in ("2", "2.2"):
        tags, points = _nodes_2(*_counted("Nodes", nodes, types))
        blocks = _elements_2(*_counted("Elements", elements, types))
    else:
        raise ValueError(f"MSH version {version} is not read; save the file as 4.1 or 2.2")
    return points, _with_rows(tags, blocks)


def _section(data: bytes, name: str) -> bytes:
    """What is between the lines $name and $Endname."""
    first = f"${name}".encode()
    start = 0 if data.startswith(first) else data.find(b"\n" + first) + 1
    if not data.startswith(first, start):
        raise ValueError(f"it has no ${name}; is it an MSH file of gmsh?")
    start = data.find(b"\n", start) + 1
    end = data.find(f"$End{name}".encode(), start)
    if start == 0 or end < 0:
        raise ValueError(f"it ends before $End{name}")
    return data[start:end]


class _Numbers:
    """The numbers of a section, taken one after the other."""

    def __init__(self, section: str, body: bytes, types: dict[str, str] | None) -> None:
        """Takes the type of each kind of number in a binary file, None for text."""
        self.section, self.types = section, types
        self.at, self.bytes = 0, body
        if types is None:
            try:
                self.bytes = np.array(body.split(), dtype=float).tobytes()
            except ValueError as error:
                raise self.error(str(error)) from None

    def error(self, what: str) -> ValueError:
        return ValueError(f"${self.section}: {what}")

    def rows(self, count: int, *columns: tuple[str, int]) -> list[npt.NDArray]:
        """The next rows of numbers.

        Args:
            count: Number of rows.
            columns: For each array to return, "int", "size" or "float" and its width.
        """
        types = self.types or dict.fromkeys(("int", "size", "float"), "f8")
        record = np.dtype([(f"{k}", types[kind], (n,)) for k, (kind, n) in enumerate(columns)])
        start, self.at = self.at, self.at + count * record.itemsize
        if count < 0 or self.at > len(self.bytes):
            raise self.error("it ends too early")
        table = np.frombuffer(self.bytes, record, count, start)
        return [
            table[f"{k}"].astype(float) if kind == "float" else self.integers(table[f"{k}"])
            for k, (kind, _) in enumerate(columns)
        ]

    def integers(self, values: npt.NDArray) -> Indices:
        if not np.all((values == np.floor(values)) & (np.abs(values) < 2.0**53)):
            raise self.error("a number is no integer, where one should be")
        return values.astype(np.int64)

    def element_type(self, number: int) -> ElementType:
        if number not in _TYPES:
            raise self.error(f"elements of type {number} are not read")
        return _TYPES[number]

    def end(self) -> None:
        """Refuse numbers that are left over, where they can be told from line ends."""
        if self.types is None and self.at < len(self.bytes):
            raise self.error("it has more numbers than it says")


def _blocks_4(numbers: _Numbers) -> Iterator[list[int]]:
    """The three numbers that say what a block of version 4.1 holds, and its size."""
    (header,) = numbers.rows(1, ("size", 4))
    for _ in range(header[0, 0]):
        entity, size = numbers.rows(1, ("int", 3), ("size", 1))
        yield [*entity[0].tolist(), int(size[0, 0])]
    numbers.end()


def _nodes_4(numbers: _Numbers) -> tuple[Indices, Array]:
    tags: list[Indices] = []
    points: list[Array] = []
    for dimension, _, parametric, count in _blocks_4(numbers):
        (tag,) = numbers.rows(count, ("size", 1))
        parameters = dimension if parametric else 0
        (coordinates,) = numbers.rows(count, ("float", 3 + parameters))
        tags.append(tag[:, 0])
        points.append(coordinates[:, :3])
    if not tags:
        raise numbers.error("it is empty")
    return np.concatenate(tags), np.concatenate(points)


def _elements_4(numbers: _Numbers) -> list[Elements]:
    blocks = []
    for _, _, number, count in _blocks_4(numbers):
        kind = numbers.element_type(number)
        _, nodes = numbers.rows(count, ("size", 1), ("size", kind.nodes))
        blocks.append(Elements(kind, nodes))
    return blocks


def _counted(section: str, body: bytes, types: dict[str, str] | None) -> tuple[_Numbers, int]:
    """What follows the first line of a section of version 2, and the number in that line."""
    first, _, rest = body.partition(b"\n")
    if not first.strip().isdigit():
        raise ValueError(f"${section} does not begin with a number")
    return _Numbers(section, rest, types), int(first)


def _nodes_2(numbers: _Numbers, count: int) -> tuple[Indices, Array]:
    tags, points = numbers.rows(count, ("int", 1), ("float", 3))
    numbers.end()
    return tags[:, 0], points


def _elements_2(numbers: _Numbers, count: int) -> list[Elements]:
    """Text has a header for each element, binary one for as many of a type as it says there."""
    binary = numbers.types is not None
    (column,) = numbers.rows(len(numbers.bytes) // (4 if binary else 8), ("int", 1))
    words: list[int] = column.ravel().tolist()
    found: list[tuple[ElementType, list[int]]] = []
    at = 0
    while len(found) < count:
        if len(words) < at + 3:
            raise numbers.error("it ends too early")
        first, second, tags = words[at : at + 3]
        kind = numbers.element_type(first if binary else second)
        size, width = (second, 1 + tags + kind.nodes) if binary else (1, tags + kind.nodes)
        start, at = at + 3, at + 3 + size * width
        if size < 1 or tags < 0 or len(words) < at:
            raise numbers.error("a header is damaged, or it ends too early")
        ends = range(start + width, at + 1, width)
        found += [(kind, words[end - kind.nodes : end]) for end in ends]
    if len(found) > count or (at < len(words) and not binary):
        raise numbers.error("it has more numbers than it says")
    return [
        Elements(kind, np.array([nodes for _, nodes in run]))
        for kind, run in groupby(found, key=lambda element: element[0])
    ]


def _with_rows(tags: Indices, blocks: list[Elements]) -> list[Elements]:
    """The elements with the rows of the points in place of the tags that the file gives them."""
    order = np.argsort(tags, kind="stable")
    ordered = tags[order]
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError("$Nodes: two nodes have the same number")
    found = []
    for kind, nodes in blocks:
        at = np.searchsorted(ordered, nodes)
        missing = np.append(ordered, -1)[at] != nodes
        if missing.any():
            raise ValueError(f"$Elements: there is no node {nodes[missing][0]}")
        found.append(Elements(kind, order[at]))
    return found
