"""Vertices moved at random, which breaks the symmetry that flatters convergence studies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.meshes import simplices

_LEAST_JACOBIAN = 0.3  # in a perturbed cell, as a share of the straight cell's before


def random_shift(vertices: Array, cells: Indices, share: float, seed: int) -> Array:
    """Random vectors no longer than ``share`` of the mean edge, ``shape=vertices.shape``."""
    edges, _ = simplices.edges(cells)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1).mean()
    shift = np.random.default_rng(seed).uniform(-1, 1, size=vertices.shape)
    shift *= share * length / np.maximum(1, np.linalg.norm(shift, axis=1))[:, None]
    return shift


def perturb(
    vertices: Array,
    cells: Indices,
    share: float,
    seed: int,
    bring_back: Callable[[Array], Array],
    jacobians: Callable[[Array, Indices], Array] = simplices.jacobians,
) -> Array:
    """Vertices after a ``random_shift``, halved at cells whose Jacobian would lose more than 70%.

    Args:
        vertices: ``shape=(vertices, gdim)``.
        cells: Vertices of each cell, ``shape=(cells, tdim + 1)``.
        share: See ``random_shift``.
        seed: See ``random_shift``.
        bring_back: Takes shifted vertices, which it may change, to where they are allowed.
        jacobians: The least Jacobian in each cell after the shift, ``shape=(cells,)``.
    """
    shift = random_shift(vertices, cells, share, seed)
    least = _LEAST_JACOBIAN * simplices.jacobians(vertices, cells)
    while (bad := jacobians(bring_back(vertices + shift), cells) < least).any():
        shift[np.unique(cells[bad])] /= 2
    return bring_back(vertices + shift)
