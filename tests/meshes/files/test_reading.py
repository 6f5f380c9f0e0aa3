"""Meshes from files of gmsh."""

import struct
import warnings

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.meshes import SeamWarning, read_mesh

COMM, SELF = MPI.COMM_WORLD, MPI.COMM_SELF

# Nodes between these corners follow the corners in gmsh's cells of degree 2 (its manual, "Node
# ordering"), and the numbers of its types.
BETWEEN = {
    1: [(0, 1)],
    2: [(0, 1), (1, 2), (2, 0)],
    3: [(0, 1), (1, 2), (2, 0), (3, 0), (2, 3), (1, 3)],
}
TYPES = {(0, 1): 15, (1, 1): 1, (2, 1): 2, (3, 1): 4, (1, 2): 8, (2, 2): 9, (3, 2): 11}


def quadratic(points, cells, move=lambda x: x):
    """Points and cells with a node, moved by a function, in the middle of each edge."""
    points, number = [*map(tuple, points)], {}
    rows = []
    for cell in cells:
        row = list(cell)
        for i, j in BETWEEN[len(cell) - 1]:
            key = tuple(sorted((cell[i], cell[j])))
            if key not in number:
                number[key] = len(points)
                middle = (np.array(points[key[0]]) + np.array(points[key[1]])) / 2
                points.append(tuple(move(middle)))
            row.append(number[key])
        rows.append(row)
    return np.array(points), np.array(rows)


def text_4(points, blocks, tags=None):
    """MSH 4.1 in text. Blocks are pairs of an element type and rows of points."""
    tags = np.arange(len(points)) + 1 if tags is None else tags
    dimension = {15: 0, 1: 1, 8: 1, 26: 1, 2: 2, 9: 2, 3: 2, 21: 2, 4: 3, 11: 3}
    lines = ["$MeshFormat", "4.1 0 8", "$EndMeshFormat", "$Nodes"]
    lines += [f"1 {len(points)} {tags.min()} {tags.max()}", f"1 1 0 {len(points)}"]
    lines += [str(tag) for tag in tags]
    lines += [" ".join(map(repr, map(float, x))) for x in points]
    count = sum(len(rows) for _, rows in blocks)
    lines += ["$EndNodes", "$Elements", f"{len(blocks)} {count} 1 {count}"]
    number = 1
    for kind, rows in blocks:
        lines.append(f"{dimension[kind]} 1 {kind} {len(rows)}")
        for row in rows:
            lines.append(" ".join(map(str, [number, *tags[list(row)]])))
            number += 1
    return "\n".join([*lines, "$EndElements", ""]).encode()


def text_2(points, blocks):
    lines = ["$MeshFormat", "2.2 0 8", "$EndMeshFormat", "$Nodes", str(len(points))]
    lines += [f"{k} {x!r} {y!r} {z!r}" for k, (x, y, z) in enumerate(points.tolist(), 1)]
    rows = [(kind, row) for kind, rows in blocks for row in rows]
    lines += ["$EndNodes", "$Elements", str(len(rows))]
    for k, (kind, row) in enumerate(rows, 1):
        lines.append(" ".join(map(str, [k, kind, 2, 7, 1, *(np.array(row) + 1)])))
    return "\n".join([*lines, "$EndElements", ""]).encode()


def binary_4(points, blocks, order="<"):
    def size(*values):
        return struct.pack(f"{order}{len(values)}Q", *values)

    def integer(*values):
        return struct.pack(f"{order}{len(values)}i", *values)

    count = sum(len(rows) for _, rows in blocks)
    parts = [b"$MeshFormat\n4.1 1 8\n", integer(1), b"\n$EndMeshFormat\n$Nodes\n"]
    parts += [size(1, len(points), 1, len(points)), integer(2, 1, 0), size(len(points))]
    parts += [size(*range(1, len(points) + 1)), points.astype(f"{order}f8").tobytes()]
    parts += [b"\n$EndNodes\n$Elements\n", size(len(blocks), count, 1, count)]
    for kind, rows in blocks:
        parts += [integer(2, 1, kind), size(len(rows))]
        parts += [size(9, *(int(k) + 1 for k in row)) for row in rows]
    return b"".join([*parts, b"\n$EndElements\n"])


def binary_2(points, blocks):
    parts = [b"$MeshFormat\n2.2 1 8\n", struct.pack("i", 1), b"\n$EndMeshFormat\n$Nodes\n"]
    parts += [b"%d\n" % len(points)]
    parts += [struct.pack("<i3d", k, *x) for k, x in enumerate(points, 1)]
    parts += [b"\n$EndNodes\n$Elements\n%d\n" % sum(len(rows) for _, rows in blocks)]
    for kind, rows in blocks:
        parts.append(struct.pack("3i", kind, len(rows), 2))
        for row in rows:
            parts.append(struct.pack(f"{3 + len(row)}i", 9, 7, 1, *(int(k) + 1 for k in row)))
    return b"".join([*parts, b"\n$EndElements\n"])


def polygon(cells):
    angles = 2 * np.pi * np.arange(cells) / cells
    points = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(cells)])
    return points, np.column_stack([np.arange(cells), (np.arange(cells) + 1) % cells])


def octahedron():
    """Its vertices and triangles; with the centre they make tetrahedra."""
    points = np.concatenate([np.eye(3), -np.eye(3), np.zeros((1, 3))])
    cells = [(i, j, k) for i in (0, 3) for j in (1, 4) for k in (2, 5)]
    return points, np.array(cells)


def square():
    points = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0], [0.9, 0.4, 0]])
    return points, np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])


def on_sphere(x):
    return x / np.linalg.norm(x)


@pytest.fixture
def read(tmp_path):
    def from_bytes(data):
        (tmp_path / "mesh.msh").write_bytes(data)
        return read_mesh(tmp_path / "mesh.msh", SELF)

    return from_bytes


@pytest.fixture
def shared_file(shared_tmp_path):
    """Write a file that all ranks see."""

    def write(data):
        path = shared_tmp_path / "mesh.msh"
        if COMM.rank == 0:
            path.write_bytes(data)
        COMM.barrier()
        return path

    return write


def by_number(domain, values):
    ordered = np.empty_like(values)
    ordered[domain.topology.original_cell_index] = values
    return ordered


class TestShapes:
    @pytest.mark.parametrize("degree", [1, 2])
    def test_line(self, degree, read, corners, measure):
        points = np.zeros((4, 3))
        points[:, 0] = [0, 0.5, 2, 3]
        cells = np.array([[2, 3], [0, 1], [2, 1]])
        if degree == 2:
            points, cells = quadratic(points, cells)
        domain = read(text_4(points, [(TYPES[1, degree], cells)]))
        assert (domain.topology.dim, domain.geometry.dim) == (1, 1)
        ordered = by_number(domain, corners(domain))[..., 0]
        assert ordered.tolist() == [[2, 3], [0, 0.5], [2, 0.5]]
        assert measure(domain) == pytest.approx(3, rel=1e-14)

    @pytest.mark.parametrize(("degree", "error"), [(1, 2e-2), (2, 1e-4)])
    def test_closed_curve(self, degree, error, read, measure, facet_counts):
        points, cells = polygon(20)
        if degree == 2:
            points, cells = quadratic(points, cells, on_sphere)
        domain = read(text_4(points, [(TYPES[1, degree], cells)]))
        assert (domain.topology.dim, domain.geometry.dim) == (1, 2)
        assert facet_counts(domain) == (0, 20)
        assert abs(measure(domain) / (2 * np.pi) - 1) < error
        assert np.abs(np.linalg.norm(domain.geometry.x, axis=1) - 1).max() < 1e-15

    @pytest.mark.parametrize("degree", [1, 2])
    def test_square(self, degree, read, measure, facet_counts, jacobians):
        points, cells = square()
        if degree == 2:
            points, cells = quadratic(points, cells)
        domain = read(text_4(points, [(TYPES[2, degree], cells)]))
        assert (domain.topology.dim, domain.geometry.dim) == (2, 2)
        assert measure(domain) == pytest.approx(2, rel=1e-14)
        assert facet_counts(domain) == (4, 4)
        # Straight cells have one Jacobian each, if their nodes are in the right places.
        values, _ = jacobians(domain)
        assert np.ptp(values, axis=1).max() < 1e-14

    @pytest.mark.parametrize(
        ("degree", "area", "error"), [(1, 4 * np.sqrt(3), 1e-14), (2, 4 * np.pi, 0.1)]
    )
    def test_closed_surface(self, degree, area, error, read, measure, facet_counts, jacobians):
        points, cells = octahedron()
        if degree == 2:
            points, cells = quadratic(points, cells, on_sphere)
        domain = read(text_4(points, [(TYPES[2, degree], cells)]))
        assert (domain.topology.dim, domain.geometry.dim) == (2, 3)
        assert facet_counts(domain) == (0, 12)
        assert measure(domain) == pytest.approx(area, rel=error)
        # The origin belongs to no cell.
        assert len(domain.geometry.x) == (6 if degree == 1 else 18)
        assert jacobians(domain)[0].min() > 0.5

    @pytest.mark.parametrize("degree", [1, 2])
    def test_volume(self, degree, read, measure, facet_counts, jacobians):
        points, triangles = octahedron()
        cells = np.column_stack([np.full(8, 6), triangles])
        if degree == 2:
            points, cells = quadratic(points, cells)
        domain = read(text_4(points, [(TYPES[3, degree], cells)]))
        assert (domain.topology.dim, domain.geometry.dim) == (3, 3)
        assert measure(domain) == pytest.approx(4 / 3, rel=1e-14)
        assert facet_counts(domain) == (8, 12)
        assert np.ptp(jacobians(domain)[0], axis=1).max() < 1e-14

    def test_planar_but_for_round_off(self, read):
        points, cells = square()
        points[:, 2] = [1e-15, 0, -1e-15, 0, 1e-16]
        assert read(text_4(points, [(2, cells)])).geometry.dim == 2

    @pytest.mark.parametrize("degree", [1, 2])
    def test_a_planar_mesh_may_lie_at_any_height(self, degree, read, measure, ordered_nodes):
        points, cells = square()
        if degree == 2:
            points, cells = quadratic(points, cells)
        lifted = points + np.array([0, 0, 0.7])
        lifted[0, 2] += 1e-15
        domain = read(text_4(lifted, [(TYPES[2, degree], cells)]))
        assert domain.geometry.dim == 2
        assert measure(domain) == pytest.approx(2, rel=1e-14)
        assert np.array_equal(ordered_nodes(domain), points[:, :2])

    def test_a_line_may_lie_anywhere_along_x(self, read, ordered_nodes):
        points = np.array([[0, 3, -2], [1, 3, -2], [4, 3, -2]])
        domain = read(text_4(points, [(1, [[0, 1], [1, 2]])]))
        assert ordered_nodes(domain).tolist() == [[0], [1], [4]]

    @pytest.mark.parametrize("height", [1e-6, 0.3, 100])
    def test_one_node_out_of_the_plane_makes_a_surface(self, height, read):
        points, cells = square()
        points[:, 2] = 0.7
        points[4, 2] += height
        assert read(text_4(points, [(2, cells)])).geometry.dim == 3

    def test_a_circle_of_latitude_stays_in_space(self, read):
        points, cells = polygon(20)
        points[:, 2] = 0.5
        assert read(text_4(points, [(1, cells)])).geometry.dim == 3


class TestFormat:
    @pytest.mark.parametrize("write", [text_4, text_2, binary_4, binary_2])
    @pytest.mark.parametrize("degree", [1, 2])
    def test_all_versions_give_the_same(self, write, degree, read, corners, ordered_nodes):
        points, cells = square()
        boundary = [(k, (k + 1) % 4) for k in range(4)]
        if degree == 2:
            points, cells = quadratic(points, cells)
            boundary = [(*row[:2], row[3]) for row in cells]
        blocks = [(15, [[0]]), (TYPES[1, degree], boundary), (TYPES[2, degree], cells)]
        domain = read(write(points, blocks))
        assert np.array_equal(by_number(domain, corners(domain)), points[cells[:, :3], :2])
        assert np.array_equal(ordered_nodes(domain), points[:, :2])

    def test_most_significant_byte_first(self, read, measure):
        points, cells = square()
        assert measure(read(binary_4(points, [(2, cells)], ">"))) == pytest.approx(2)

    def test_node_numbers_need_no_order(self, read, corners):
        points, cells = square()
        tags = np.array([70, 3, 500, 4, 12])
        domain = read(text_4(points, [(2, cells)], tags))
        assert np.array_equal(by_number(domain, corners(domain)), points[cells, :2])

    def test_cells_of_several_entities_keep_the_order_of_the_file(self, read, corners):
        points, cells = square()
        domain = read(text_4(points, [(2, cells[2:]), (1, [[0, 1]]), (2, cells[:2])]))
        order = cells[[2, 3, 0, 1]]
        assert np.array_equal(by_number(domain, corners(domain)), points[order, :2])

    def test_other_sections_and_parametric_nodes(self, read, measure):
        data = text_4(square()[0][:3], [(2, [[0, 1, 2]])])
        data = b"$Comments\n$Node 7\n$EndComments\n" + data
        lines = data.split(b"\n")
        at = lines.index(b"1 1 0 3")
        lines[at] = b"1 1 1 3"
        for k in range(at + 4, at + 7):
            lines[k] += b" 0.25"
        lines += [b"$NodeData", b"1 2 3", b"$EndNodeData"]
        assert measure(read(b"\n".join(lines))) == pytest.approx(1)
        assert measure(read(b"\r\n".join(lines))) == pytest.approx(1)

    def test_a_file_written_by_gmsh(self, read, measure, facet_counts, euler_characteristic):
        domain = read(WRITTEN_BY_GMSH.encode())
        assert (domain.topology.dim, domain.geometry.dim) == (2, 2)
        assert domain.topology.index_map(2).size_local == 7
        assert facet_counts(domain) == (7, 7)
        assert euler_characteristic(domain) == 1
        assert measure(domain) == pytest.approx(np.pi, rel=2e-3)


class TestRepetitions:
    """Cells that are in the file for each of their groups."""

    @pytest.mark.parametrize("write", [text_2, binary_2, text_4])
    @pytest.mark.parametrize("degree", [1, 2])
    @pytest.mark.parametrize("tdim", [1, 2, 3])
    def test_are_taken_once(self, write, degree, tdim, read, corners, facet_counts):
        if tdim == 1:
            points, cells = polygon(7)
        elif tdim == 2:
            points, cells = square()
        else:
            points, cells = octahedron()
            cells = np.column_stack([np.full(8, 6), cells])
        count = len(cells)
        again = np.concatenate([cells[:3, ::-1], np.roll(cells[1:], 1, axis=1)])
        cells = np.concatenate([cells[:2], cells[:1], cells[2:], again])
        if degree == 2:
            points, cells = quadratic(points, cells)
        kept = np.delete(cells, 2, axis=0)[:count]
        domain = read(write(points, [(TYPES[tdim, degree], cells)]))
        gdim = domain.geometry.dim
        wanted = points[kept[:, : tdim + 1], :gdim]
        assert np.array_equal(by_number(domain, corners(domain)), wanted)
        assert sum(facet_counts(domain)) == {1: 7, 2: 8, 3: 20}[tdim]


def stacked(degree=1, gap=0.0, joined=False):
    """Two rectangles of 8 triangles each, which meet at y = 0.5."""
    x, y = np.meshgrid(np.linspace(-2, 2, 5), [-1, 0.5, 0.5 + gap, 2], indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    number = np.arange(x.size).reshape(x.shape)
    if joined:
        number[:, 2] = number[:, 1]
    low, high = number[:-1], number[1:]
    cells = np.concatenate(
        [
            np.column_stack(cell)
            for k in (0, 2)
            for cell in (
                (low[:, k], high[:, k], high[:, k + 1]),
                (low[:, k], high[:, k + 1], low[:, k + 1]),
            )
        ]
    )
    return quadratic(points, cells) if degree == 2 else (points, cells)


class TestSeams:
    """Parts whose nodes coincide, which are not joined."""

    @pytest.mark.parametrize(("degree", "count"), [(1, 5), (2, 9)])
    @pytest.mark.parametrize("gap", [0, 1e-13])
    def test_are_told_with_their_number_and_place(self, degree, count, gap, read, facet_counts):
        data = text_4(*with_type(*stacked(degree, gap)))
        place = rf"mesh\.msh: nodes at {count} points from \(-2, 0\.5\) to \(2, 0\.5\) coincide"
        with pytest.warns(SeamWarning, match=place) as warned:
            domain = read(data)
        assert facet_counts(domain)[0] == 20
        assert len(warned) == 1
        assert warned[0].filename == __file__

    @pytest.mark.parametrize("degree", [1, 2])
    def test_are_none_where_nodes_are_joined(self, degree, read, facet_counts):
        points, cells = stacked(degree, joined=True)
        assert facet_counts(read(text_4(*with_type(points, cells))))[0] == 12

    def test_are_none_where_a_gap_is(self, read):
        # A cell elsewhere is so large that the gap is round-off of it.
        points, cells = stacked(gap=1e-7)
        points = np.concatenate([points, [[1e3, 0, 0], [1e3, 1e3, 0], [0, 1e3, 0]]])
        cells = np.concatenate([cells, [[20, 21, 22]]])
        assert read(text_4(*with_type(points, cells))).geometry.dim == 2

    def test_are_points_of_a_line(self, read):
        points = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0, 0], [1, 0, 0]])
        with pytest.warns(SeamWarning, match=r"nodes at \(0\.5\) coincide"):
            read(text_4(points, [(1, [[0, 1], [2, 3]])]))

    def test_where_a_closed_curve_is_open(self, read):
        points, cells = polygon(12)
        points = np.concatenate([points, points[:1]])
        cells[-1, 1] = 12
        with pytest.warns(SeamWarning, match=r"nodes at \(1, 0\) coincide"):
            read(text_4(points, [(1, cells)]))

    @pytest.mark.parametrize(("degree", "count"), [(1, 3), (2, 6)])
    def test_are_faces_of_tetrahedra(self, degree, count, read):
        face = np.eye(3)
        points = np.concatenate([face, face, [[0, 0, 0], [1, 1, 1]]])
        cells = np.array([[0, 1, 2, 6], [3, 4, 5, 7]])
        if degree == 2:
            points, cells = quadratic(points, cells)
        with pytest.warns(SeamWarning, match=f"nodes at {count} points from"):
            read(text_4(points, [(TYPES[3, degree], cells)]))

    def test_count_points_where_many_nodes_coincide(self, read):
        # Each triangle has its own nodes: four at the centre, two at each corner.
        points, cells = square()
        data = text_4(points[cells.ravel()], [(2, np.arange(12).reshape(4, 3))])
        with pytest.warns(SeamWarning, match=r"nodes at 5 points from \(0, 0\) to \(2, 1\)"):
            read(data)

    @pytest.mark.mpi
    def test_are_told_by_one_rank(self, shared_file, cells_differ):
        path = shared_file(text_4(*with_type(*stacked())))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            shared, alone = read_mesh(path, COMM), read_mesh(path, SELF)
        assert len(warned) == 1 + (COMM.rank == 0)
        assert cells_differ(shared, alone) == 0

    @pytest.mark.mpi
    def test_are_errors_on_every_rank_where_warnings_are(self, shared_file):
        path = shared_file(text_4(*with_type(*stacked())))
        with pytest.raises(SeamWarning, match="coincide"):
            read_mesh(path, COMM)


def with_type(points, cells):
    """Points, and the one block of the triangles."""
    return points, [(2 if cells.shape[1] == 3 else 9, cells)]


def damaged():
    points, cells = square()
    text = text_4(points, [(2, cells)])
    leaves = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, -1, 0]])
    cubic = np.arange(10)[None] % 5
    bent, curved = quadratic(points, cells[:2])
    both = np.concatenate([curved, curved[1:]])
    both[2, 3:] = both[2, [4, 3, 5]]
    return {
        "not of gmsh": (b"solid cube\n", "no \\$MeshFormat"),
        "empty": (b"", "no \\$MeshFormat"),
        "no header": (text.replace(b"4.1 0 8", b"4.1"), "MeshFormat"),
        "version": (text.replace(b"4.1 0 8", b"4 0 8"), "version 4 is not read"),
        "truncated": (text[:-40], "ends before \\$EndElements"),
        "short": (text.replace(b"1 1 0 5", b"1 1 0 6"), "\\$Nodes"),
        "long": (text.replace(b"1 1 0 5", b"1 1 0 4"), "\\$Nodes"),
        "negative": (text.replace(b"1 1 0 5", b"1 1 0 -5"), "\\$Nodes"),
        "huge": (text.replace(b"1 1 0 5", b"1 1 0 9000000000000000"), "\\$Nodes"),
        "no number": (text.replace(b"0.4", b"O.4"), "\\$Nodes.*O.4"),
        "no integer": (text.replace(b"2 1 2 4", b"2 1 2 4.5"), "no integer"),
        "short binary": (binary_4(points, [(2, cells)]).replace(b"4.1 1 8", b"4.1 1 4"), ""),
        "short text 2": (text_2(points, [(2, cells)]).replace(b"\n4\n", b"\n5\n"), "too early"),
        "long text 2": (text_2(points, [(2, cells)]).replace(b"\n4\n", b"\n3\n"), "more numbers"),
        "no count": (text_2(points, [(2, cells)]).replace(b"\n5\n", b"\nx\n"), "begin"),
        "twice a node": (text_4(points, [(2, cells)], np.array([1, 2, 3, 4, 4])), "same number"),
        "no node": (text.replace(b"\n4 4 1 5\n", b"\n4 4 1 99\n"), "no node 99"),
        "no cells": (text_4(points, []), "no cells"),
        "points": (text_4(points, [(15, [[0], [1]])]), "no cells"),
        "mixed": (text_4(points, [(2, cells[:2]), (3, [[0, 1, 2, 3]])]), "several types"),
        "degrees": (text_4(points, [(2, cells), (9, [[0, 1, 2, 3, 4, 0]])]), "several types"),
        "quadrilaterals": (text_4(points, [(3, [[0, 1, 2, 3]])]), "quadrilateral"),
        "cubic": (text_4(points, [(21, cubic)]), "degree 3"),
        "unknown": (text.replace(b"2 1 2 4", b"2 1 99 4"), "type 99"),
        "infinite": (text.replace(b"0.4", b"inf"), "not finite"),
        "flat": (text_4(points, [(2, [[0, 1, 4], [0, 1, 1]])]), "cell 1 .* no volume"),
        "doubled": (text_4(bent, [(9, both)]), "cells 1 and 2 .* other nodes between"),
        "branching": (text_4(leaves, [(2, [[0, 1, k] for k in (2, 3, 4)])]), "3 cells share"),
    }


@pytest.mark.parametrize("name", damaged())
def test_refuses_what_is_damaged(name, read):
    data, message = damaged()[name]
    with pytest.raises(ValueError, match=rf"mesh\.msh: .*{message}"):
        read(data)


@pytest.mark.mpi
class TestRanks:
    @pytest.mark.parametrize("degree", [1, 2])
    @pytest.mark.parametrize("kind", ["curve", "surface", "square", "volume"])
    def test_same_on_any_number_of_ranks(self, kind, degree, shared_file, cells_differ):
        if kind == "curve":
            points, cells = polygon(11)
        elif kind == "square":
            points, cells = square()
        else:
            points, cells = octahedron()
            if kind == "volume":
                cells = np.column_stack([cells, np.full(8, 6)])
        tdim = cells.shape[1] - 1
        if degree == 2:
            points, cells = quadratic(points, cells)
        path = shared_file(text_4(points, [(TYPES[tdim, degree], cells)]))
        assert cells_differ(read_mesh(path, COMM), read_mesh(path, SELF)) == 0

    @pytest.mark.parametrize("name", ["not of gmsh", "short", "mixed", "branching"])
    def test_refuses_on_every_rank(self, name, shared_file):
        data, message = damaged()[name]
        path = shared_file(data)
        with pytest.raises(ValueError, match=message):
            read_mesh(path, COMM)

    def test_names_a_file_that_is_not_there(self, shared_tmp_path):
        with pytest.raises(ValueError, match=r"missing\.msh: No such file"):
            read_mesh(shared_tmp_path / "missing.msh", COMM)
        with pytest.raises(ValueError, match=r"[Dd]irectory"):
            read_mesh(shared_tmp_path, COMM)


# A disk of gmsh 4.15, of degree 2.
WRITTEN_BY_GMSH = """\
$MeshFormat
4.1 0 8
$EndMeshFormat
$Entities
1 1 1 0
1 1 0 0 0
1 -1.0000001 -1.0000001 -1e-07 1.0000001 1.0000001 1e-07 0 2 1 -1
1 -1.0000001 -1.0000001 -1e-07 1.0000001 1.0000001 1e-07 0 1 1
$EndEntities
$Nodes
3 22 1 22
0 1 0 1
1
1 0 0
1 1 0 13
2
3
4
5
6
7
8
9
10
11
12
13
14
0.6234898018587336 0.7818314824680298 0
-0.2225209339563143 0.9749279121818236 0
-0.900968867902419 0.4338837391175582 0
-0.9009688679024191 -0.433883739117558 0
-0.2225209339563146 -0.9749279121818236 0
0.6234898018587334 -0.7818314824680299 0
0.9009688679024191 0.4338837391175581 0
0.2225209339563144 0.9749279121818236 0
-0.6234898018587335 0.7818314824680299 0
-1 1.224646799147353e-16 0
-0.6234898018587337 -0.7818314824680297 0
0.2225209339563142 -0.9749279121818236 0
0.900968867902419 -0.4338837391175583 0
2 1 0 8
15
16
17
18
19
20
21
22
1.520288840329713e-17 -7.786021085306638e-18 0
-0.4504844339512095 0.2169418695587791 0
-0.1112604669781572 0.4874639560909118 0
-0.4504844339512095 -0.216941869558779 0
0.3117449009293668 0.3909157412340149 0
-0.1112604669781573 -0.4874639560909118 0
0.4999999999999999 -3.893010542653325e-18 0
0.3117449009293667 -0.390915741234015 0
$EndNodes
$Elements
3 15 1 15
0 1 15 1
1 1
1 1 8 7
2 1 2 8
3 2 3 9
4 3 4 10
5 4 5 11
6 5 6 12
7 6 7 13
8 7 1 14
2 1 9 7
9 4 15 3 16 17 10
10 5 15 4 18 16 11
11 3 15 2 17 19 9
12 6 15 5 20 18 12
13 2 15 1 19 21 8
14 7 15 6 22 20 13
15 1 15 7 21 22 14
$EndElements
"""
