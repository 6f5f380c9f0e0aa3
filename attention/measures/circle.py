"""Angles on the circle: quantiles of the measures there, and where angles are.

Angles are from an axis, counterclockwise, in [-pi, pi], ``shape=(n,)``. Quantile functions map
levels u in [0, 1), ``shape=(n,)``, to the angles where the distribution function from -pi takes
them, each level by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from meanformer.arrays import Array

_PANELS = 256
_NODES, _WEIGHTS = (array.tolist() for array in np.polynomial.legendre.leggauss(6))
_REACH = 60.0  # e^{-60} is nothing beside the smallest uniform number, 2^-53 = e^{-37}


def at_angle(axis: tuple[float, ...], angle: Array) -> Array:
    """Points of the circle, ``shape=(n, 2)``, at angles from an axis, ``shape=(n,)``."""
    along = np.asarray(axis)
    across = np.array([-along[1], along[0]])
    return np.cos(angle)[:, None] * along + np.sin(angle)[:, None] * across


def angle_from(axis: tuple[float, ...], points: Array) -> Array:
    """Angles of points of the circle from an axis, the inverse of `at_angle`."""
    (a, b), (x, y) = axis, points.T
    return np.arctan2(a * y - b * x, a * x + b * y)


def uniform_angle(levels: Array) -> Array:
    """Quantiles of the uniform measure."""
    return 2 * np.pi * (levels - 0.5)


def von_mises_angle(concentration: float, levels: Array) -> Array:
    """Quantiles of the density proportional to e^{c cos t}, c >= 0, to 1e-15 of the level."""
    # The density is symmetric and decreases from 0 to pi: solve for |t| from the mass beyond it.
    # Exponents are below _REACH up to the last panel.
    reach = 2 * np.arcsin(np.sqrt(_REACH / max(2 * concentration, _REACH)))

    def density(angle: Array) -> Array:
        return np.exp(-2 * concentration * np.sin(angle / 2) ** 2)

    def mass(left: Array, right: Array) -> Array:  # by Gauss's rule, exact within a panel
        half, middle = (right - left) / 2, (right + left) / 2
        return half * sum(
            w * density(middle + half * t) for t, w in zip(_NODES, _WEIGHTS, strict=True)
        )

    edges = np.linspace(0, reach, _PANELS + 1)
    beyond = np.append(np.cumsum(mass(edges[:-1], edges[1:])[::-1])[::-1], 0.0)
    wanted = 2 * np.minimum(levels, 1 - levels) * beyond[0]
    panel = np.searchsorted(-beyond, -wanted, side="right") - 1
    panel = np.minimum(panel, _PANELS - 1)
    angle, right = edges[panel], edges[panel + 1]
    wanted = wanted - beyond[panel + 1]
    # Newton's method from the left increases to the root of a convex function, and the density
    # changes by a factor of at most 1.6 in a panel: the errors are .24, .01, 5e-5, 6e-10, 1e-19
    # of its width.
    for _ in range(6):
        angle = np.minimum(angle + (mass(angle, right) - wanted) / density(angle), right)
    return np.where(levels < 0.5, -angle, angle)


def poisson_angle(length: float, levels: Array) -> Array:
    """Quantiles of (1 - r^2) / (1 + r^2 - 2 r cos t) / (2 pi), by the conformal map.

    In half-angles, the map x = (1 - |a|^2)/|u + a|^2 (u + a) + a of the uniform measure is
    tan(t/2) = (1 - r)/(1 + r) tan(s/2), with the length r = |a| in [0, 1).
    """
    half = uniform_angle(levels) / 2
    return 2 * np.arctan2((1 - length) * np.sin(half), (1 + length) * np.cos(half))


def harmonic_angle(degree: int, amplitude: float, levels: Array) -> Array:
    """Quantiles of (1 + amplitude cos(k t)) / (2 pi): t + amplitude sin(k t)/k = 2 pi (u - 1/2).

    The degree is k >= 1, the amplitude in [-1, 1].
    """
    # Kepler's equation for k t, up to whole periods.
    periods = degree * (levels - 0.5)
    whole = np.round(periods)
    rest = bisect(
        lambda turn: turn + amplitude * np.sin(turn), 2 * np.pi * (periods - whole), -np.pi, np.pi
    )
    return (2 * np.pi * whole + rest) / degree


def bisect(
    increasing: Callable[[Array], Array], levels: Array, lower: float, upper: float
) -> Array:
    """Where an increasing function takes given levels, ``shape=(n,)``, to round-off.

    At the lower end it is at most the smallest level, at the upper end at least the largest.
    """
    low: Array = np.full(len(levels), lower)
    high: Array = np.full(len(levels), upper)
    for _ in range(54):
        middle = (low + high) / 2
        below = increasing(middle) < levels
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
