"""Values of a density at given points: which cell holds a point, and where in it."""

from __future__ import annotations

import basix
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from meanformer.arrays import Array, Indices
from meanformer.attention import Sphere
from meanformer.pde.dg.elements import Elements
from meanformer.pde.quadrature import geometry_nodes, tabulate

# A point this far outside of a cell, in reference coordinates, is on its border: round-off.
_BORDER = 1e-10
# Newton's method squares errors: after a step below this the next would be round-off.
_CONVERGED = 1e-8
_MOST_ITERATIONS = 30
# Points located at a time, which bounds the memory for their candidates.
_BLOCK = 8192
_NO_CELL = np.iinfo(np.int64).max


class PointValues:
    """Evaluates densities at points that any rank may ask for.

    In R^d a point x lies in the cell whose map X takes some place xi of the reference cell there,
    X(xi) = x. The cells of a sphere are polynomial and off it by their error: a point lies in the
    cell that its ray from the origin meets, X(xi) = s x with s > 0. Cells that share a facet share
    its curve, so that rays meet them without gaps or overlaps.

    Args:
        elements: The density's elements.
    """

    def __init__(self, elements: Elements) -> None:
        """Enclose all cells in balls and sort these. Collective."""
        domain = elements.domain
        self._elements = elements
        self._nodes = geometry_nodes(domain)
        self._map = domain.ufl_domain().ufl_coordinate_element().basix_element
        self._numbers = domain.topology.original_cell_index[: len(self._nodes)]
        self._is_sphere = isinstance(elements.where, Sphere)
        centres, self._radii = self._balls()
        # Balls of like size share a tree: in a graded mesh few are near a point in each.
        _, size = np.frexp(self._radii)
        self._trees = [
            (cells, cKDTree(centres[cells]), self._radii[cells].max())
            for cells in (np.flatnonzero(size == one) for one in np.unique(size))
        ]
        reach = self._radii[:, None]
        low = (centres - reach).min(axis=0, initial=np.inf)
        high = (centres + reach).max(axis=0, initial=-np.inf)
        self._boxes: list[tuple[Array, Array]] = elements.comm.allgather((low, high))

    def _balls(self) -> tuple[Array, Array]:
        """Centres, ``shape=(cells, d)``, and radii of balls that enclose this rank's cells.

        A cell is in the convex hull of its Bernstein coefficients. Rays through it meet the sphere
        in a cap that holds their directions, since caps below a hemisphere are convex.
        """
        family, variant = basix.ElementFamily.P, basix.LagrangeVariant.bernstein
        bernstein = basix.create_element(family, self._map.cell_type, self._map.degree, variant)
        at_nodes = bernstein.tabulate(0, self._map.points)[0, :, :, 0]
        hull = np.einsum("ij,cjk->cik", np.linalg.inv(at_nodes), self._nodes)
        centres = hull.mean(axis=1)
        if self._is_sphere:
            hull /= np.linalg.norm(hull, axis=2, keepdims=True)
            centres = self._elements.where.retract(hull.mean(axis=1))
        radii = np.linalg.norm(hull - centres[:, None], axis=2).max(axis=1)
        return centres, radii * (1 + 1e-6)

    def __call__(self, values: Array, points: npt.ArrayLike) -> Array:
        """A density at points of this rank's choice. Collective.

        Args:
            values: The density on this rank's cells, ``shape=(cells, n)``.
            points: Points, ``shape=(m, d)``; m is each rank's own, 0 is allowed.

        Returns:
            Values, ``shape=(m,)``; nan at points in no cell. On a border of cells, that of the cell
            with the lowest number in the mesh as it was made.

        Raises:
            ValueError: On every rank, if points of any rank have another shape, are not real and
                finite, or not on the sphere.
        """
        comm, where = self._elements.comm, self._elements.where
        here, fault = self._checked(points)
        faults = comm.allgather(fault)
        if any(faults):
            raise ValueError(f"points {next(filter(None, faults))}")
        here = where.retract(here)
        asked = [
            np.flatnonzero(np.all((here >= low) & (here <= high), axis=1))
            for low, high in self._boxes
        ]
        received = comm.alltoall([here[rows] for rows in asked])
        answers = comm.alltoall([self._answers(values, each) for each in received])
        numbers, found = np.full(len(here), _NO_CELL), np.full(len(here), np.nan)
        for rows, (number, value) in zip(asked, answers, strict=True):
            lower = number < numbers[rows]
            numbers[rows[lower]], found[rows[lower]] = number[lower], value[lower]
        return found

    def _checked(self, points: npt.ArrayLike) -> tuple[Array, str]:
        """The points as an array, and what is wrong with them, or an empty string."""
        where = self._elements.where
        none = np.empty((0, where.dimension))
        try:
            array = np.asarray(points)
            if np.iscomplexobj(array):
                return none, "are complex; they must be real"
            array = array.astype(float)
        except (TypeError, ValueError) as error:  # of this rank alone, perhaps
            return none, f"are no array of numbers: {error}"
        if array.ndim != 2 or array.shape[1] != where.dimension:
            return none, f"have shape {array.shape}; it must be (m, {where.dimension})"
        if not np.all(np.isfinite(array)):
            return none, "are not finite"
        if not where.holds(array):
            return none, "are not on the sphere: they must be unit vectors, up to 1e-6"
        return array, ""

    def _answers(self, values: Array, points: Array) -> tuple[Indices, Array]:
        """Numbers of the cells that hold points, ``shape=(m,)``, and the values there."""
        numbers, found = np.full(len(points), _NO_CELL), np.full(len(points), np.nan)
        for first in range(0, len(points), _BLOCK):
            rows, cells, places = self._locate(points[first : first + _BLOCK])
            rows += first
            basis = tabulate(self._elements.space, places)
            numbers[rows] = self._numbers[cells]
            found[rows] = np.einsum("mn,mn->m", basis, values[cells])
        return numbers, found

    def _locate(self, points: Array) -> tuple[Indices, Indices, Array]:
        """Rows of the points that are in this rank's cells, the cells, and the places there."""
        tree = cKDTree(points)
        rows, cells = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for members, centres, largest in self._trees:
            near = tree.sparse_distance_matrix(centres, largest, output_type="ndarray")
            near = near[near["v"] <= self._radii[members[near["j"]]]]
            rows.append(near["i"])
            cells.append(members[near["j"]])
        row, cell = np.concatenate(rows), np.concatenate(cells)
        places, inside = self._invert(points[row], cell)
        row, cell, places = row[inside], cell[inside], places[inside]
        # Of several cells at a border, the one with the lowest number.
        order = np.lexsort((self._numbers[cell], row))
        row, first = np.unique(row[order], return_index=True)
        chosen = order[first]
        return row, cell[chosen], places[chosen]

    def _invert(self, points: Array, cells: Indices) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Places in the reference cell of points in given cells, and whether they are inside.

        Newton's method for X(xi) = x, or X(xi) = s x on spheres, of which s is one more unknown.
        """
        t = self._elements.domain.topology.dim
        places = np.full((len(points), t), 1 / (t + 1))
        scales = np.ones(len(points))
        inside = np.zeros(len(points), dtype=bool)
        active = np.arange(len(points))
        for _ in range(_MOST_ITERATIONS):
            if not len(active):
                break
            x, nodes = points[active], self._nodes[cells[active]]
            shape, *slopes = self._map.tabulate(1, places[active])[:, :, :, 0]
            columns = [np.einsum("mn,mnk->mk", slope, nodes) for slope in slopes]
            if self._is_sphere:
                columns.append(-x)
            matrices = np.stack(columns, axis=2)
            matrices[np.linalg.det(matrices) == 0] = np.nan
            misses = x - np.einsum("mn,mnk->mk", shape, nodes)
            steps = np.linalg.solve(matrices, misses[..., None])[..., 0]
            if self._is_sphere:
                scales[active] = 1 + steps[:, t]
            # Not farther than this, where polynomials fold back.
            new = np.clip(places[active] + steps[:, :t], -1.0, 2.0)
            moved = np.abs(new - places[active]).max(axis=1)
            places[active] = new
            done = moved < _CONVERGED
            least = np.minimum(new.min(axis=1), 1 - new.sum(axis=1))
            inside[active[done]] = (least[done] >= -_BORDER) & (scales[active[done]] > 0)
            active = active[~done & np.isfinite(moved)]
        return places, inside
