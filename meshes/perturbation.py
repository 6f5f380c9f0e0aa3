"""Vertices moved at random, which breaks the symmetry that flatters convergence studies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.meshes import simplices


def random_shift(vertices: Array, cells: Indices, share: float, seed: int) -> Array:
    """Random vectors no longer than ``share`` of the mean edge, ``shape=vertices.shape``."""
    edges, _ = simplices.edges(cells)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1).mean()
    shift = np.random.default_rng(seed).uniform(-1, 1, size=vertices.shape)
    shift *= share * length / np.maximum(1, np.linalg.norm(shift, axis=1))[:, None]
    return shift


def untangle(
    shift: Array, cells: Indices, quality: Callable[[Array], Array], least: float
) -> Array:
    """Halve the shifts of the vertices of bad cells until no cell is bad.

    Args:
        shift: How far vertices are moved, ``shape=(vertices, gdim)``.
        cells: Vertices of each cell, ``shape=(cells, tdim + 1)``.
        quality: Quality of each cell after a shift, ``shape=(cells,)``; it must exceed ``least``
            where nothing is shifted.
        least: A cell below this quality is bad.
    """
    shift = shift.copy()
    while (bad := quality(shift) < least).any():
        shift[np.unique(cells[bad])] /= 2
    return shift
