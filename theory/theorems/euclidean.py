"""Theorems on late times in R^d (arXiv 2305.05465), for tokens x and z = e^{-tV} x."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Euclidean
from meanformer.theory.spectrum import LeadingSpace, leading_space
from meanformer.theory.theorems.base import Deviation, TokenTheorem
from meanformer.theory.theorems.hypotheses import Hypothesis, equal, given, positive, sign
from meanformer.theory.theorems.setting import End, Setting, multiple

#: Tokens are at a limit within this share of the largest length.
NEAR = 1e-2
# An attention matrix of more tokens takes too much memory.
_LARGEST_MATRIX = 5000


class EuclideanTheorem(TokenTheorem):
    """A theorem about tokens in R^d under one head of softmax attention, without noise."""

    spaces = (Euclidean,)
    laws = ("softmax",)


class Boolean(EuclideanTheorem):
    """On the line, the attention matrix becomes Boolean."""

    name = "boolean"
    source = "arXiv 2305.05465, section 2"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """V > 0 and Q K > 0 on the line, and tokens that differ."""
        on_the_line = given("the dimension is 1", setting.space.dimension == 1)
        if not on_the_line.holds:
            return [on_the_line]
        assert setting.tokens is not None
        tokens = np.sort(setting.tokens[:, 0])
        extent = float(np.ptp(tokens))
        nearest = float(np.diff(tokens).min(initial=np.inf))
        return [
            on_the_line,
            sign("V is positive", setting.value[0, 0]),
            sign("beta Q K is positive", setting.product[0, 0]),
            positive(
                "no two tokens are at one place: their least distance over the largest",
                nearest / extent if extent > 0 else 0.0,
                least=1e-9,
            ),
        ]

    def limit(self, setting: Setting) -> str:
        """Rows of P."""
        assert setting.tokens is not None
        a, b = int(setting.tokens[:, 0].argmin()), int(setting.tokens[:, 0].argmax())
        return (
            f"every row of P but one at most tends to e_{a} or e_{b}, of the outermost tokens {a} "
            f"and {b}: P becomes Boolean, of rank 1 or 2"
        )

    def deviation(self, end: End) -> Deviation | None:
        """The second largest distance of a row of P from a unit vector of an outermost token."""
        assert end.setting.tokens is not None and end.matrix is not None
        start = end.setting.tokens[:, 0]
        if len(start) > _LARGEST_MATRIX:
            return None
        outer = [int(start.argmin()), int(start.argmax())]
        distances = np.sort(1 - end.matrix()[0][:, outer].max(axis=1))
        return Deviation(
            f"distance of rows of P from e_{outer[0]} and e_{outer[1]}, the largest but one",
            float(distances[-2]) if len(distances) > 1 else 0.0,
            1e-6,
        )


class Hyperplanes(EuclideanTheorem):
    """With a simple leading eigenvalue, rescaled tokens tend to three hyperplanes at most."""

    name = "hyperplanes"
    source = "arXiv 2305.05465, section 4"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """A good triple (Q, K, V) (section 4)."""
        space = leading_space(setting.value)
        spectrum = real_and_leading(space, setting.value)
        if not all(hypothesis.holds for hypothesis in spectrum):
            return spectrum
        simple = given("the leading eigenvalue of V is simple", space.multiplicity == 1)
        if not simple.holds:
            return [*spectrum, simple]
        phi = space.right[:, 0]
        number = float(phi @ setting.product @ phi)
        size = float(np.linalg.norm(setting.product, 2))
        aligned = "beta <Q phi, K phi> is positive, phi the leading eigenvector, relative to |A|"
        return [*spectrum, simple, positive(aligned, number, size)]

    def limit(self, setting: Setting) -> str:
        """Where z tends to."""
        psi = ", ".join(f"{entry:.4g}" for entry in leading_space(setting.value).left[:8, 0])
        more = ", ..." if setting.space.dimension > 8 else ""
        return (
            "the leading coordinates <psi, z_i> of the rescaled tokens z = e^(-tV) x, "
            f"psi = ({psi}{more}), tend to three values at most, one of them 0: z_i tends to one "
            "of at most three parallel hyperplanes"
        )

    def deviation(self, end: End) -> Deviation:
        """How far leading coordinates are from the nearest of their extremes and 0."""
        leading = end.z @ leading_space(end.setting.value).left[:, 0]
        size = float(np.abs(leading).max())
        # A smallest one above 0 and a largest one below do not attract.
        values = np.array([leading.min(initial=0.0), 0.0, leading.max(initial=0.0)])
        distances = np.abs(leading[:, None] - values).min(axis=1)
        return Deviation(
            "distance of leading coordinates of z from the smallest below 0, 0, and the largest "
            "above, over the largest modulus",
            float(distances.max()) / size if size > 0 else 0.0,
            NEAR,
        )


class Repulsive(EuclideanTheorem):
    """With V = -I, all tokens tend to 0."""

    name = "repulsive"
    source = "arXiv 2305.05465, appendix; 2501.18322 for the rate"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """V = -c I and beta Q^T K = a I with positive c and a, and tokens that differ."""
        is_multiple, factor = multiple("V", setting.value)
        of_product, slope = multiple("Q^T K", setting.product)
        return [
            is_multiple,
            sign("-V is positive", -factor),
            of_product,
            sign("beta Q^T K is positive", slope),
            given("not all tokens are in one place", _directions(setting) > 0),
        ]

    def limit(self, setting: Setting) -> str:
        """Where x tends to."""
        rate = self._rate(setting)
        return (
            f"all tokens x_i tend to 0 like t^(-1/2): t Cov(t) tends to {1 / rate:.4g} I, on the "
            f"{_directions(setting)} dimensions of their differences"
        )

    def deviation(self, end: End) -> Deviation:
        """How far 2 a c t times the eigenvalues of the second moment are from 1."""
        x = end.points
        assert x is not None
        if end.rescaled:
            x = x * np.exp(end.time * end.setting.value[0, 0])
        moments = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
        scaled = self._rate(end.setting) * end.time * moments[: _directions(end.setting)]
        return Deviation(
            "distance of 2 a c t int x x^T, beta Q^T K = a I and V = -c I, from the identity",
            float(np.abs(scaled - 1).max()),
            0.05,
        )

    @staticmethod
    def _rate(setting: Setting) -> float:
        """2 a c: S' = -2 a c S^2 for the covariance s I of a normal distribution."""
        return float(-2 * setting.product[0, 0] * setting.value[0, 0])


def _directions(setting: Setting) -> int:
    """How many dimensions differences of tokens span; they stay in that space."""
    assert setting.tokens is not None
    return int(np.linalg.matrix_rank(setting.tokens - setting.tokens.mean(axis=0)))


def real_and_leading(space: LeadingSpace, value: Array) -> list[Hypothesis]:
    """That the leading eigenvalue of V is real, positive, and larger than the others' moduli."""
    modulus = abs(space.eigenvalue)
    real = equal(
        "the leading eigenvalue of V is real: its imaginary part over its modulus",
        abs(space.eigenvalue.imag) / modulus if modulus > 0 else np.inf,
    )
    if not real.holds:
        return [real]
    size = float(np.linalg.norm(value, 2))
    return [
        real,
        positive(
            "the leading eigenvalue of V is positive, relative to |V|", space.eigenvalue.real, size
        ),
        positive("the other eigenvalues have smaller moduli: 1 - |lambda_2| / lambda_1", space.gap),
        given(
            "the leading eigenvalue of V is not defective: its eigenvectors span",
            space.multiplicity > 0,
        ),
    ]
