"""Points sorted into leaves, and bounds that tell which leaves a target can leave out.

At large exponents most pairs add less than round-off. Leaves are compact, so that one bound of
all logits of a target with a leaf decides on hundreds of pairs at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.direct.tiles import LEAF, STRIP

Kept = npt.NDArray[np.bool_]

_NEAREST = 4


def leaf_order(points: Array, size: int) -> Indices:
    """An order in which each next ``size`` points are close to each other.

    Recursive bisection at the median of the widest coordinate, all nodes of a level at once, from
    points, ``shape=(n, d)``, to a permutation, ``shape=(n,)``. The last leaf may hold fewer.
    """
    count = len(points)
    levels = max(0, int(np.ceil(np.log2(max(count, 1) / size))))
    # What fills up the tree has no coordinates, and numpy sorts that to the end.
    order = np.minimum(np.arange(size << levels), count)
    coordinates = np.vstack([points, np.full((1, points.shape[1]), np.nan)]).T.copy()
    for level in range(levels):
        nodes = order.reshape(1 << level, -1)
        sides = [
            np.fmax.reduce(row[nodes], axis=1) - np.fmin.reduce(row[nodes], axis=1)
            for row in coordinates
        ]
        widest = np.argmax(sides, axis=0)[:, None]
        halves = np.argpartition(coordinates[widest, nodes], nodes.shape[1] // 2, axis=1)
        order = np.take_along_axis(nodes, halves, axis=1).ravel()
    return order[order < count]


class Leaves(NamedTuple):
    """What bounds the logits b_j + <xi, y_j> of the points of each of k leaves.

    Attributes:
        centres: Of the boxes around the points y, ``shape=(k, d)``.
        halves: Half the sides of the boxes, and a little more than round-off, ``shape=(k, d)``.
        radii: The largest |y|, and a little more than round-off, ``shape=(k,)``.
        tops: The largest b, ``shape=(k,)``.
    """

    centres: Array
    halves: Array
    radii: Array
    tops: Array

    @classmethod
    def of(cls, points: npt.NDArray, bias: npt.NDArray) -> Leaves:
        """The leaves of sorted points, ``shape=(d, n)``, n > 0, with the bias, ``shape=(n,)``."""
        starts = np.arange(0, points.shape[1], LEAF)
        low = np.minimum.reduceat(points, starts, axis=1).T.astype(float, order="C")
        high = np.maximum.reduceat(points, starts, axis=1).T.astype(float, order="C")
        squares = np.maximum.reduceat(np.einsum("ij,ij->j", points, points), starts)
        round_off = 4 * len(points) * float(np.finfo(float).eps)
        halves = (high - low) / 2 + round_off * np.maximum(np.abs(low), np.abs(high))
        radii = (1 + round_off) * np.sqrt(squares.astype(float))
        tops = np.maximum.reduceat(bias, starts).astype(float)
        return cls((low + high) / 2, halves, radii, tops)

    def nearest(self, queries: npt.NDArray) -> Kept:
        """For each strip of targets, a few leaves with the largest logits between centres.

        Arguments and what is returned as for ``reach``.
        """
        strips = np.arange(0, len(queries), STRIP)
        middles = np.add.reduceat(queries[:, : self.centres.shape[1]], strips) / STRIP
        values = middles @ self.centres.T + self.tops
        kept = np.zeros(values.shape, bool)
        few = min(_NEAREST, len(self.tops))
        chosen = np.argpartition(values, len(self.tops) - few, axis=1)[:, -few:]
        np.put_along_axis(kept, chosen, True, axis=1)
        return kept

    def reach(self, queries: npt.NDArray, floors: Array) -> tuple[Kept, float]:
        """Which leaves may hold a point whose logit with a target of a strip is above its floor.

        Args:
            queries: xi, ``shape=(m, r)``; of these, d columns count.
            floors: ``shape=(m,)``.

        Returns:
            Whether a strip is to meet a leaf, ``shape=(strips, k)``, and by how much logits can
            exceed floors, at most.
        """
        kept = np.zeros((-(-len(queries) // STRIP), len(self.tops)), bool)
        xi = queries[:, : self.centres.shape[1]].astype(float)
        return kept, _reach(xi.T.copy(), floors, *self, STRIP, kept)


@numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _reach(xi, floors, centres, halves, radii, tops, strip, kept):  # type: ignore[no-untyped-def]
    """See ``Leaves.reach``.

    Logits in a leaf are at most top + <xi, centre> + <|xi|, half>. They are also at most
    top + |xi| (R - g^2 / 2R), R the leaf's radius and g the distance of R xi / |xi| from its box,
    as <u, y> = (R^2 + |y|^2 - |R u - y|^2) / 2R for unit vectors u. On spheres, where leaves are
    thin, this is much sharper.
    """
    d, m = xi.shape
    length, bound, gap = np.zeros(m), np.empty(strip), np.empty(strip)
    for k in range(d):
        length += xi[k] * xi[k]
    length = np.sqrt(length)
    inverse = 1 / np.maximum(length, 1e-300)
    # First all targets at once: from the box around them, and the lowest floor.
    floor, longest = floors.min(), length.max()
    middle, width, turn, spread = np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    for k in range(d):
        low, high = xi[k].min(), xi[k].max()
        middle[k], width[k] = (low + high) / 2, (high - low) / 2
        u = xi[k] * inverse
        low, high = u.min(), u.max()
        turn[k], spread[k] = (low + high) / 2, (high - low) / 2
    highest = -np.inf
    for s in range(len(tops)):
        radius = max(radii[s], 1e-300)
        linear, square = 0.0, 0.0
        for k in range(d):
            c, h = centres[s, k], halves[s, k]
            linear += middle[k] * c + (abs(middle[k]) + width[k]) * h + width[k] * abs(c)
            square += max(abs(radius * turn[k] - c) - radius * spread[k] - h, 0.0) ** 2
        cosine = 1 - square / (2 * radius * radius)
        curved = radius * cosine * (longest if cosine > 0 else length.min())
        if tops[s] + min(linear, curved) < floor:
            continue
        # Then strip by strip, target by target.
        for first in range(0, m, strip):
            size = min(strip, m - first)
            for i in range(size):
                bound[i] = 0.0
                gap[i] = 0.0
            for k in range(d):
                x, c, h = xi[k, first : first + size], centres[s, k], halves[s, k]
                over = inverse[first : first + size]
                for i in range(size):
                    bound[i] += x[i] * c + abs(x[i]) * h
                    gap[i] += max(abs(radius * x[i] * over[i] - c) - h, 0.0) ** 2
            top = -np.inf
            for i in range(size):
                curved = length[first + i] * (radius - gap[i] / (2 * radius))
                top = max(top, tops[s] + min(bound[i], curved) - floors[first + i])
            kept[first // strip, s] = top >= 0
            highest = max(highest, top)
    return highest
