"""Polytopes to which rescaled tokens tend (arXiv 2305.05465, sections 3 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.linalg import null_space
from scipy.spatial import ConvexHull, cKDTree

from meanformer.arrays import Array
from meanformer.theory.hulls import Hull
from meanformer.theory.spectrum import leading_space, symmetric_part
from meanformer.theory.theorems.base import Deviation
from meanformer.theory.theorems.euclidean import NEAR, EuclideanTheorem, real_and_leading
from meanformer.theory.theorems.hypotheses import Hypothesis, equal, given, positive, sign
from meanformer.theory.theorems.setting import End, Setting, multiple

# A point is on a face, and in its own maximum, up to this share of the polytope's size.
_TOLERANCE = 1e-9
# Faces of a polytope are too many to look at all of them beyond.
_LARGEST_DIMENSION, _MOST_VERTICES = 3, 200
# So are its facets, at most about n^(d/2) for n points: more take minutes.
_MOST_FACETS = 1e9


class Polytope(EuclideanTheorem):
    """With V = I, rescaled tokens tend to the boundary of a polytope."""

    name = "polytope"
    source = "arXiv 2305.05465, section 3"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """V = c I with c > 0, and Q^T K symmetric and positive definite."""
        is_multiple, factor = multiple("V", setting.value)
        return [is_multiple, sign("V is positive", factor), *_positive_definite(setting)]

    def limit(self, setting: Setting) -> str:
        """Where z tends to."""
        return (
            "the convex hull of the rescaled tokens z = e^(-tV) x shrinks to a polytope, and every "
            "z_i tends to a vertex of it, to one of finitely many other points of its boundary, "
            "or to 0"
        )

    def deviation(self, end: End) -> Deviation | None:
        """How far tokens are from the finite set of the theorem; beyond d = 3, from its hull."""
        z, size = end.z, _size(end.z)
        if z.shape[1] > _LARGEST_DIMENSION or size == 0:
            return _from_the_boundary(z, "z")
        vertices = z[Hull(z).vertices]
        if len(vertices) > _MOST_VERTICES:  # long before the end
            return _from_the_boundary(z, "z")
        points = limit_points(vertices, end.setting.product)
        rests = np.vstack([points, np.zeros(z.shape[1])])
        nearest, _ = cKDTree(rests).query(z)
        return Deviation(
            f"distance of z from the nearest of the {len(points)} points where it may rest, and "
            "from 0, over the largest length of a z",
            float(nearest.max()) / size,
            NEAR,
        )


class PolytopeTimesSubspace(EuclideanTheorem):
    """With a multiple leading eigenvalue, a polytope in its space, times a complement."""

    name = "polytope x subspace"
    source = "arXiv 2305.05465, section 5"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """A good triple with multiplicity: V = c I on F and less on a complement, Q^T K > 0."""
        space = leading_space(setting.value)
        spectrum = real_and_leading(space, setting.value)
        if not all(hypothesis.holds for hypothesis in spectrum):
            return spectrum
        dimension = setting.space.dimension
        is_proper = 1 < space.multiplicity < dimension
        return [
            *spectrum,
            given(
                "V is a multiple of the identity on an invariant F of 2 or more dimensions, which "
                "is not all of the space",
                is_proper,
            ),
            *_positive_definite(setting),
        ]

    def limit(self, setting: Setting) -> str:
        """Where z tends to."""
        count = leading_space(setting.value).multiplicity
        return (
            f"the parts of the rescaled tokens z = e^(-tV) x in the leading eigenspace F of V, of "
            f"{count} dimensions, tend to the boundary of a polytope in F or to 0; in the "
            "complement z goes its own way"
        )

    def deviation(self, end: End) -> Deviation | None:
        """How far tokens' parts in F are from the boundary of their hull, and from 0."""
        space = leading_space(end.setting.value)
        # Coordinates in F along the complement; the basis of F is orthonormal.
        return _from_the_boundary(end.z @ space.left, "the parts of z in F")


def limit_points(vertices: Array, product: Array) -> Array:
    """The finite set of points x of a polytope K with <x, M x> = max_j <x, M v_j>.

    They are the vertices v_j of that kind, and of a face the point x nearest to 0 in the norm
    <x, M x>^{1/2} where that is in the face and M x exposes it. A token that moves towards the
    maximisers of <x, M y> rests there: limits of tokens are among them, or are 0.

    Args:
        vertices: Points whose hull K is, ``shape=(n, d)``, d at most 3 or so: all faces of all
            facets are looked at.
        product: M = Q^T K, symmetric and positive definite, ``shape=(d, d)``.

    Returns:
        The points, ``shape=(m, d)``; 0 is one of them only if it is on the boundary of K.
    """
    scale = float(np.abs(vertices).max(initial=0.0))
    if scale == 0:
        return np.zeros((1, vertices.shape[1]))
    size = float(np.linalg.norm(product, 2)) * scale**2
    found: list[Array] = []
    for face in sorted(_faces(vertices), key=len):
        corners = vertices[list(face)]
        weights = _nearest_weights(corners, product)
        if weights is None or weights.min() < -_TOLERANCE:
            continue
        point = weights @ corners
        heights = vertices @ (product @ point)
        if heights.max() - point @ product @ point > _TOLERANCE * size:
            continue
        if all(np.abs(point - other).max() > _TOLERANCE * scale for other in found):
            found.append(point)
    return np.array(found).reshape(-1, vertices.shape[1])


def _faces(points: Array) -> set[tuple[int, ...]]:
    """Simplices that the boundary of the hull is made of, of all dimensions, by their corners."""
    dimension, count = points.shape[1], len(points)
    centred = points - points[0]
    axes = null_space(null_space(centred).T) if count > 1 else np.zeros((dimension, 0))
    flat = centred @ axes
    if axes.shape[1] == 0:
        facets = [[0]]
    elif axes.shape[1] == 1:
        facets = [[int(flat[:, 0].argmin())], [int(flat[:, 0].argmax())]]
        if dimension > 1:  # a segment in the plane is a face itself
            facets = [[facet[0] for facet in facets]]
    else:
        hull = ConvexHull(flat)
        facets = [sorted(facet) for facet in hull.simplices.tolist()]
        if axes.shape[1] < dimension:  # so is a polygon in space: its triangles, about a corner
            apex = int(hull.vertices[0])
            facets = [sorted({apex, *facet}) for facet in facets]
    return {
        face
        for facet in facets
        for length in range(1, len(facet) + 1)
        for face in combinations(facet, length)
    }


def _nearest_weights(corners: Array, product: Array) -> Array | None:
    """Weights of the point of a simplex's affine hull with the least <x, M x>; None if flat."""
    size = len(corners)
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = corners @ product @ corners.T
    scale = float(np.abs(system).max())
    system[size, :size] = system[:size, size] = scale
    right = np.zeros(size + 1)
    right[size] = scale
    if scale == 0 or np.linalg.cond(system) > 1e12:
        return None
    weights: Array = np.linalg.solve(system, right)[:size]
    return weights


def _positive_definite(setting: Setting) -> list[Hypothesis]:
    """That beta Q^T K is symmetric and positive definite."""
    product = setting.product
    size = np.linalg.norm(product, 2)
    asymmetry = np.linalg.norm(product - product.T, 2) / size if size > 0 else 0.0
    least = float(np.linalg.eigvalsh(symmetric_part(product))[0])
    return [
        equal("Q^T K is symmetric", float(asymmetry)),
        positive(
            "beta Q^T K is positive definite: its least eigenvalue, of |A|", least, size, 1e-3
        ),
    ]


def _from_the_boundary(points: Array, what: str) -> Deviation | None:
    """How far points are from the boundary of their hull and from 0, over the longest.

    None where it has too many facets, or no interior as points are too few: they show nothing.
    """
    count, dimension = points.shape
    if count <= dimension or dimension // 2 * np.log(count) > np.log(_MOST_FACETS):
        return None
    size = _size(points)
    distances = np.minimum(
        Hull(points).distance_to_boundary(points), np.linalg.norm(points, axis=1)
    )
    return Deviation(
        f"distance of {what} from the boundary of their convex hull and from 0, over the largest "
        "length of one",
        float(distances.max() / size) if size > 0 else 0.0,
        NEAR,
    )


def _size(points: Array) -> float:
    """The largest length of points."""
    return float(np.linalg.norm(points, axis=1).max())
