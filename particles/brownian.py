"""Brownian motion of tokens: steps in R^d and on spheres."""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Space, Sphere


def brownian_step(points: Array, normals: Array, diffusion: float, space: Space) -> Array:
    """Points after Brownian motion of generator kappa Laplace(-Beltrami) for a time h.

    In R^d they move by sqrt(2 kappa h) xi. On S^{d-1} they go along the great circle of the tangent
    vector r = s P_x xi,

        x' = cos|r| x + sin|r| r / |r|,    s^2 = 2 kappa h / (1 + (d - 2) kappa h / 3),

    since the heat kernel at a distance r is, with t = kappa h,

        e^{-r^2 / 4t} (r / sin r)^{(d-2)/2} (1 + O(t)),

    with O(t) constant up to O(t^2), and the area of a shell is proportional to sin(r)^{d-2}: in the
    tangent space the density is e^{-r^2 / 4t} (sin r / r)^{(d-2)/2}, that is
    e^{-r^2 (1 / 4t + (d-2) / 12)} up to O(t^2). Means of smooth functions have errors O(h^3); none
    for d = 2.

    Args:
        points: In the space, ``shape=(n, d)``.
        normals: xi, independent standard normal numbers, ``shape=(n, d)``.
        diffusion: kappa h, not negative.
        space: Where the points are.

    Returns:
        ``shape=(n, d)``; unit vectors on the sphere.
    """
    if not isinstance(space, Sphere):
        return points + np.sqrt(2 * diffusion) * normals
    variance = 2 * diffusion / (1 + (space.dimension - 2) * diffusion / 3)
    way = space.tangent(points, np.sqrt(variance) * normals)
    angle = np.linalg.norm(way, axis=1)[:, None]
    return space.retract(np.cos(angle) * points + np.sinc(angle / np.pi) * way)
