"""Which rank owns which cell: the same in every run, which graph partitioners do not promise."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from meanformer.arrays import Array, Indices


def bisect(points: Array, parts: int) -> Indices:
    """Parts of equal size by recursive bisection across the longest extent.

    (Berger & Bokhari, IEEE Trans. Comput. C-36, 1987.)

    Args:
        points: ``shape=(n, d)``.
        parts: Number of parts.

    Returns:
        The part of each point, ``shape=(n,)``. Sizes differ by one at most.
    """
    part: Indices = np.zeros(len(points), dtype=np.int64)
    if parts == 1 or len(points) == 0:
        return part
    extents = points.max(axis=0) - points.min(axis=0)
    size = extents.max() or 1.0
    # Round-off decides nothing: of equal extents the first is cut, equal points keep their order.
    along = points[:, np.argmax(np.round(extents / size, 9))]
    order = np.argsort(np.round(along / size, 9), kind="stable")
    few = parts // 2
    split = (len(points) * few + parts // 2) // parts
    lower, upper = np.sort(order[:split]), np.sort(order[split:])
    part[lower] = bisect(points[lower], few)
    part[upper] = few + bisect(points[upper], parts - few)
    return part


def with_ghosts(cells: Indices, owner: Indices) -> tuple[Indices, Indices]:
    """The ranks that get each cell: its owner, then the other owners across its facets.

    Args:
        cells: Vertices of simplices, ``shape=(cells, tdim + 1)``.
        owner: The rank that owns each cell, ``shape=(cells,)``.

    Returns:
        Ranks, cell by cell, and where those of each cell begin, ``shape=(cells + 1,)``.
    """
    count, corners = cells.shape
    facets = np.sort(
        np.concatenate([cells[:, list(c)] for c in combinations(range(corners), corners - 1)]),
        axis=1,
    )
    order = np.lexsort(facets.T)
    same = np.all(facets[order[1:]] == facets[order[:-1]], axis=1)
    pairs = np.column_stack([order[:-1][same], order[1:][same]]) % count
    pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
    # Each pair makes a ghost of either cell.
    ghosts = np.concatenate([pairs, pairs[:, ::-1]])
    ghosts[:, 1] = owner[ghosts[:, 1]]
    ghosts = np.unique(ghosts, axis=0)
    # Owners first.
    kind = np.repeat([0, 1], [count, len(ghosts)])
    receivers = np.concatenate([np.column_stack([np.arange(count), owner]), ghosts])
    receivers = receivers[np.lexsort((receivers[:, 1], kind, receivers[:, 0]))]
    starts = np.searchsorted(receivers[:, 0], np.arange(count + 1))
    return receivers[:, 1], starts
