"""Theorems on late times of tokens on spheres (arXiv 2312.10794, 2405.18273, 2411.04990)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import linprog

from meanformer.arrays import Array
from meanformer.attention import Sphere
from meanformer.theory.theorems.base import Deviation, TokenTheorem
from meanformer.theory.theorems.hypotheses import Hypothesis, equal, given, positive, sign
from meanformer.theory.theorems.setting import End, Setting, multiple

# Tokens have met where no chord to their mean is longer.
_MET = 1e-2
# Given tokens are not opposite to another farther from there than round-off.
_OPPOSITE = 1e-9
# Inner products of equal or of evenly spread tokens are at rest, up to this.
_EQUAL_ANGLES = 1e-9


class SphericalTheorem(TokenTheorem):
    """A theorem about tokens on spheres under one head with an exponential kernel."""

    spaces = (Sphere,)
    laws = ("softmax", "unnormalised")


class _Meeting(SphericalTheorem):
    """A theorem that says that all tokens meet."""

    def limit(self, setting: Setting) -> str:
        """One point."""
        return "all tokens tend to one point"

    def deviation(self, end: End) -> Deviation:
        """The longest chord to the mean."""
        assert end.points is not None
        chords = np.linalg.norm(end.points - end.points.mean(axis=0), axis=1)
        return Deviation("longest chord from a token to the mean", float(chords.max()), _MET)


class Hemisphere(_Meeting):
    """Tokens of an open hemisphere meet, whatever Q and K."""

    name = "hemisphere"
    source = "arXiv 2312.10794, section 6"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """V = c I, c > 0, and a direction e with <x_i, e> > 0 for all tokens."""
        assert setting.tokens is not None
        is_multiple, factor = multiple("V", setting.value)
        depth = depth_in_a_hemisphere(setting.tokens)
        return [
            is_multiple,
            sign("V is positive", factor),
            positive("tokens lie in an open hemisphere: min_i <x_i, e>", depth, least=1e-3),
        ]


class Consensus(_Meeting):
    """From almost every start in three dimensions or more, all tokens meet."""

    name = "consensus"
    source = "arXiv 2312.10794, 2405.18273"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """V = c I and beta Q^T K = a I, c > 0 and a >= 0, in d >= 3."""
        is_multiple, factor = multiple("V", setting.value)
        of_product, slope = multiple("Q^T K", setting.product)
        return [
            given("d is at least 3", setting.space.dimension >= 3),
            is_multiple,
            sign("V is positive", factor),
            of_product,
            given("beta Q^T K is not negative", slope >= 0),
            setting.not_at_rest(),
        ]

    def limit(self, setting: Setting) -> str:
        """One point, perhaps late."""
        return (
            "all tokens tend to one point, for almost every start; at large beta they stay in "
            "several clusters for times that grow exponentially with beta (2410.06833)"
        )


class Leader(TokenTheorem):
    """From almost every start, causal tokens tend to the first, whatever Q and K."""

    name = "leader"
    source = "arXiv 2411.04990"
    spaces = (Sphere,)
    laws = ("softmax",)
    causal = True

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """V = c I, c > 0, and no token opposite to the first."""
        assert setting.tokens is not None
        is_multiple, factor = multiple("V", setting.value)
        return [is_multiple, sign("V is positive", factor), self._none_opposite(setting)]

    def limit(self, setting: Setting) -> str:
        """The first token."""
        return "all tokens tend to the first, which does not move, for almost every start"

    def deviation(self, end: End) -> Deviation:
        """The longest chord to the first token."""
        assert end.points is not None and end.setting.tokens is not None
        chords = np.linalg.norm(end.points - end.setting.tokens[0], axis=1)
        return Deviation("longest chord to the first token's start", float(chords.max()), _MET)

    @staticmethod
    def _none_opposite(setting: Setting) -> Hypothesis:
        """That no token starts at -x_1, where one that sees the first alone would rest."""
        tokens = setting.tokens
        assert tokens is not None
        if setting.measure is not None:
            return given("the start is drawn from a density", True)
        distance = float(np.linalg.norm(tokens + tokens[0], axis=1).min())
        what = "no given token is opposite to the first: least distance from there"
        return positive(what, distance, 1.0, _OPPOSITE)


class Equiangular(SphericalTheorem):
    """Tokens at equal angles, such as any two, keep them equal, by one equation."""

    name = "equiangular"
    source = "arXiv 2312.10794, section 6"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """V = c I and beta Q^T K = a I, and one inner product of all pairs."""
        assert setting.tokens is not None
        is_multiple, _ = multiple("V", setting.value)
        of_product, _ = multiple("Q^T K", setting.product)
        # More tokens than d + 1 are at no equal angles, and their products need no memory.
        several = 2 <= len(setting.tokens) <= setting.space.dimension + 1
        products = _products(setting.tokens) if several else np.array([0.0, np.inf])
        return [
            is_multiple,
            of_product,
            equal("all pairs of tokens have one inner product", float(np.ptp(products))),
        ]

    def limit(self, setting: Setting) -> str:
        """The equation of the inner product."""
        assert setting.tokens is not None
        n, g = len(setting.tokens), float(_products(setting.tokens).mean())
        _, c = multiple("V", setting.value)
        _, a = multiple("Q^T K", setting.product)
        if setting.attention.law == "softmax":
            rate = f"/(e^({a:g} (1-g)) + {n - 1})"
        else:
            rate = f"e^({a:g} g)/{n}"
        low = -1 / (n - 1)
        stays = c == 0 or min(1 - g, g - low) < _EQUAL_ANGLES
        tends = f"{g:.4g}" if stays else "1" if c > 0 else f"{low:.4g}"
        return (
            f"all pairs keep one inner product g, from {g:.6g}, with "
            f"g' = {2 * c:g} (1-g)(1+{n - 1}g){rate}: g tends to {tends}"
        )

    def deviation(self, end: End) -> Deviation:
        """From the solution of that equation at the end."""
        tokens = end.setting.tokens
        assert tokens is not None and end.points is not None
        n, law = len(tokens), end.setting.attention.law
        _, c = multiple("V", end.setting.value)
        _, a = multiple("Q^T K", end.setting.product)

        def slope(time: float, g: Array) -> Array:
            weight = 1 / (np.exp(a * (1 - g)) + n - 1) if law == "softmax" else np.exp(a * g) / n
            return 2 * c * weight * (1 - g) * (1 + (n - 1) * g)

        start = [float(_products(tokens).mean())]
        exact = solve_ivp(slope, (0, end.time), start, rtol=1e-10, atol=1e-12, method="DOP853")
        distance = np.abs(_products(end.points) - exact.y[0, -1]).max()
        return Deviation("distance of inner products from g", float(distance), 1e-4)


def depth_in_a_hemisphere(points: Array) -> float:
    """min_i <x_i, e> for a unit vector e that makes it positive, if there is one; else 0.

    A linear program gives the largest one over |e|_max = 1. No unit vector has one larger by more
    than a factor of sqrt(d).

    Args:
        points: Unit vectors, ``shape=(n, d)``.
    """
    count, d = points.shape
    found = linprog(
        np.append(np.zeros(d), -1.0),
        A_ub=np.hstack([-points, np.ones((count, 1))]),
        b_ub=np.zeros(count),
        bounds=[*[(-1.0, 1.0)] * d, (0.0, None)],
    )
    direction = found.x[:d]
    length = float(np.linalg.norm(direction))
    return max(0.0, float((points @ direction).min()) / length) if length > 0 else 0.0


def _products(points: Array) -> Array:
    """<x_i, x_j> of all pairs i < j."""
    rows, columns = np.triu_indices(len(points), 1)
    products: Array = np.einsum("ij,ij->i", points[rows], points[columns])
    return products
