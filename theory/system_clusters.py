"""Clusters of the points of many systems, which are never linked to each other, at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.theory.clusters import clusters

# In units of the linkage, systems are so far apart.
_GAP = 3.0


@dataclass(frozen=True, eq=False)
class SystemClusters:
    """Clusters of all systems, numbered through.

    Attributes:
        systems: How many systems there are.
        owners: The system of each cluster, ``shape=(k,)``.
        masses: The share of its system's points that each has, ``shape=(k,)``.
        centres: The mean of each, ``shape=(k, d)``.
        counts: How many points each has, ``shape=(k,)``.
    """

    systems: int
    owners: Indices
    masses: Array
    centres: Array
    counts: Indices

    @property
    def numbers(self) -> Array:
        """How many clusters each system has, ``shape=(systems,)``."""
        return np.bincount(self.owners, minlength=self.systems).astype(float)

    @property
    def largest(self) -> Array:
        """The largest mass of a cluster of each system, ``shape=(systems,)``."""
        largest = np.zeros(self.systems)
        np.maximum.at(largest, self.owners, self.masses)
        return largest


def system_clusters(points: Array, linkages: Array) -> SystemClusters:
    """Clusters of each system by single linkage, as ``clusters`` of its points finds them.

    Args:
        points: ``shape=(systems, n, d)``, finite.
        linkages: Of each system, positive, ``shape=(systems,)``.

    Raises:
        ValueError: If points are not finite, or there is none.
    """
    systems, number, dimension = points.shape
    owners = np.repeat(np.arange(systems), number)
    if systems == 1:
        found = clusters(points[0], float(linkages[0]))
    else:
        # In units of each system's linkage, and apart along one more axis: one call for all.
        one_place = np.isinf(linkages)[:, None, None]
        centred = points - points.mean(axis=1, keepdims=True)
        scaled = np.where(one_place, 0.0, centred / linkages[:, None, None])
        found = clusters(np.column_stack([scaled.reshape(-1, dimension), _GAP * owners]), 1.0)
    labels, counts, rows = found.labels, found.counts, points.reshape(-1, dimension)
    _, first = np.unique(labels, return_index=True)
    # About a point of the cluster: the mean of a narrow one keeps its digits.
    offsets = (rows - rows[first][labels]).T
    means = [np.bincount(labels, column) / counts for column in offsets]
    centres = rows[first] + np.stack(means, axis=1)
    return SystemClusters(systems, owners[first], counts / number, centres, counts)
