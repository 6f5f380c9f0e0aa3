"""The Wasserstein distance W1 of all tokens where measures have distribution functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.optimize import brentq

from meanformer.arrays import Array
from meanformer.attention import Euclidean, Space, Sphere
from meanformer.coupling.distances.base import Metric

_SEED = 0
# A piece on which a distribution function stays where it is has this height: 1 / it is finite.
_FLAT = 1e-300


class Distribution(NamedTuple):
    """A distribution function F on a line, or on a circle that is cut open: linear between knots.

    Attributes:
        knots: Increasing, ``shape=(m,)``; on a circle the last is the first plus 2 pi.
        values: F there, from 0 to 1, ``shape=(m,)``.
        is_circle: Whether the ends are one point.
    """

    knots: Array
    values: Array
    is_circle: bool


def coordinates(points: Array, space: Space) -> Array:
    """Angles on the circle, or x on the line, ``shape=(n,)``."""
    return points[:, 0] if isinstance(space, Euclidean) else np.arctan2(points[:, 1], points[:, 0])


def spread_evenly(
    positions: Array, weights: Array, lengths: Array, is_circle: bool
) -> Distribution:
    """F of weighted points, each spread evenly over a piece of a length.

    The pieces follow each other as the points do. As quadrature integrates x exactly, they begin
    where their middles, weighted with lengths, are on average where the points are.

    Args:
        positions: Angles in [-pi, pi] on a circle, ``shape=(n,)``.
        weights: ``shape=(n,)``; those below zero count as zero.
        lengths: ``shape=(n,)``; on a circle only their ratios count.
        is_circle: Whether positions are angles.
    """
    order = np.argsort(positions)
    x, lengths = positions[order], lengths[order]
    if is_circle:
        lengths = 2 * np.pi / lengths.sum() * lengths
    first = x @ lengths / lengths.sum() - lengths.sum() / 2
    knots = first + np.concatenate([[0.0], np.cumsum(lengths)])
    sums = np.cumsum(np.maximum(weights[order], 0.0))
    return Distribution(knots, np.concatenate([[0.0], sums]) / sums[-1], is_circle)


def w1_of_points(points: Array, distribution: Distribution) -> float:
    r"""Exact W1 between equal point masses and a distribution, W1 = int |F_n - F| dx.

    On a circle it is the least of int |F_n - F - c| over c, which is attained at the median of
    F_n - F (Rabin, Delon, Gousseau, arXiv 0906.5499).

    Args:
        points: Their coordinates, ``shape=(n,)``.
        distribution: F.
    """
    if distribution.is_circle:
        points = distribution.knots[0] + np.mod(points - distribution.knots[0], 2 * np.pi)
    points = np.sort(points)
    x = np.sort(np.concatenate([points, distribution.knots]))
    below = np.searchsorted(points, x[:-1], side="right") / len(points)
    at = np.interp(x, distribution.knots, distribution.values)
    # F_n - F falls from ``high`` to ``low`` between two neighbours, on a straight line.
    lengths, high, low = np.diff(x), below - at[:-1], below - at[1:]
    if distribution.is_circle:
        median = _median(lengths, high, low)
        high, low = high - median, low - median
    # |D| of the line: that of trapezoids where D keeps its sign, else of two triangles.
    sides = np.abs(high) + np.abs(low)
    crossing = np.divide(high**2 + low**2, sides, out=np.zeros_like(sides), where=sides > 0)
    return float(np.sum(lengths * np.where(high * low < 0, crossing, sides)) / 2)


def _median(lengths: Array, high: Array, low: Array) -> float:
    """The c that as much of the line is below as above, where D falls linearly on pieces of it."""
    heights = np.maximum(high - low, _FLAT)

    def excess(c: float) -> float:
        return float(lengths @ np.clip((c - low) / heights, 0.0, 1.0) - lengths.sum() / 2)

    return float(brentq(excess, low.min() - 1.0, high.max() + 1.0, xtol=1e-15))


class Quantiles(Metric):
    """W1 of all tokens, with that of as many independent draws from the present density."""

    name = "w1_all"
    spaces = "the circle $S^1$ and the line $R^1$"
    only_on = (Sphere(2), Euclidean(1))
    cost = "a sort of all tokens on rank 0 a sample, of 20 000 about 0.02 s"
    columns: ClassVar[Mapping[str, str]] = {
        "w1_all": "Wasserstein-1 distance (on the circle along it, in radians) of all tokens from "
        "the density, by distribution functions: in that of the density, the mass of each "
        "quadrature point is spread over its share of the cell",
        "w1_all_noise": "the same with as many independent draws from the density in place of "
        "the tokens",
    }

    def measure(self) -> tuple[float, ...]:
        """The distance, and its noise. Collective."""
        density, tokens, space = self._density, self._tokens, self._density.space
        mine = (
            coordinates(density.points, space),
            density.weights,
            density.point_volumes,
            coordinates(tokens.points, space),
        )
        shares, result = density.comm.gather(mine), None
        if shares is not None:
            x, weights, lengths, points = map(np.concatenate, zip(*shares, strict=True))
            distribution = spread_evenly(x, weights, lengths, isinstance(space, Sphere))
            levels = np.random.default_rng(_SEED).random(len(points))
            independent = np.interp(levels, distribution.values, distribution.knots)
            result = w1_of_points(points, distribution), w1_of_points(independent, distribution)
        both: tuple[float, float] = density.comm.bcast(result)
        return both
