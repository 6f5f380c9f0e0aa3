"""What is known of late times of densities, and of tokens that stand for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Sphere
from meanformer.attention.measures import Uniform, ZonalHarmonic
from meanformer.theory import growth
from meanformer.theory.stationary import ordered_mean
from meanformer.theory.theorems.base import Deviation, Theorem
from meanformer.theory.theorems.hypotheses import MARGIN, Hypothesis, equal, given, positive, sign
from meanformer.theory.theorems.setting import End, Setting, multiple

# A mean is not zero that is longer than what 100 000 samples of a uniform density may have.
_SMALLEST_MEAN = 0.02
# Perturbations up to this share of the uniform density grow as the linear theory says.
_SMALL = 0.1
# That of degree 1 alone can grow; convergence is proved for the unnormalised law near beta = 0.
_EXPECTED = "expected to tend to the only stable stationary density that is known"


class _Isotropic(Theorem):
    """A theorem about one head of attention that rotations leave alone."""

    spaces = (Sphere,)
    laws: tuple[str, ...] = growth.LAWS

    def of_the_model(self, setting: Setting) -> Sequence[Hypothesis]:
        """One head, constant in time, with V = c I and beta Q^T K = a I."""
        kind = setting.model_is(*self.laws)
        if all(hypothesis.holds for hypothesis in kind):
            kind += [multiple("V", setting.value)[0], multiple("Q^T K", setting.product)[0]]
        return kind

    @staticmethod
    def factors(setting: Setting) -> tuple[float, float]:
        """C of V = c I and a of beta Q^T K = a I."""
        return multiple("V", setting.value)[1], multiple("Q^T K", setting.product)[1]


class MeanOnly(_Isotropic):
    """At beta = 0 tokens follow their mean, as in Kuramoto's model."""

    name = "mean"
    source = "arXiv 2312.10794 for beta = 0; 2512.01868 with noise"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """A = 0, a mean that is not 0 where it grows, and noise away from its threshold."""
        c, a = self.factors(setting)
        conditions = [equal("beta Q^T K is 0", abs(a)), _not_zero("V", c)]
        if c > 0:
            conditions += [_has_a_mean(setting), setting.not_at_rest()]
        elif setting.temperature == 0 and setting.tokens is not None:
            conditions.append(_no_majority(setting.tokens))
        if setting.temperature > 0 and c > 0:
            critical = c / setting.space.dimension
            conditions.append(_away_from(critical, setting.temperature))
        return conditions

    def limit(self, setting: Setting) -> str:
        """How long the mean gets."""
        length = self._length(setting)
        if setting.temperature == 0 and length == 1:
            return "from almost every start the mass tends to one point: |mean| tends to 1"
        if length == 0:
            return "the mean tends to 0" + (
                f", and {_what(setting)} to the uniform one" if setting.temperature > 0 else ""
            )
        return f"{_what(setting)} tends to a von Mises-Fisher density with |mean| = {length:.6f}"

    def deviation(self, end: End) -> Deviation:
        """Of the mean's length."""
        setting = end.setting
        critical = self.factors(setting)[0] / setting.space.dimension
        return _of_mean(end, self._length(setting), critical)

    def _length(self, setting: Setting) -> float:
        c, _ = self.factors(setting)
        kappa, d = setting.temperature, setting.space.dimension
        if c < 0 or kappa >= c / d:
            return 0.0
        return 1.0 if kappa == 0 else ordered_mean("softmax", 0.0, c, kappa, d)


class Noise(_Isotropic):
    """With noise, a stationary density: uniform, or gathered about a direction."""

    name = "noise"
    source = "arXiv 2512.01868 and 2606.05140"
    laws = ("softmax", "unnormalised")

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """Kappa > 0 away from the threshold of degree 1, above that of degree 2, no fold."""
        c, a = self.factors(setting)
        d, kappa = setting.space.dimension, setting.temperature
        conditions = [sign("there is noise", kappa), _not_zero("beta Q^T K", a), sign("V", c)]
        if not all(condition.holds for condition in conditions):
            return conditions
        degree = np.array([1.0, 2.0])
        first, second = growth.thresholds(setting.attention.law, a, c, degree, d)
        conditions += [
            sign("beta Q^T K is positive", a),
            _away_from(first, kappa),
            positive("degrees from 2 on decay: 1 - kappa_2 / kappa", 1 - second / kappa),
        ]
        try:
            ordered = self._ordered(setting)
        except ArithmeticError:
            return [*conditions, given("the iteration for the stationary density converges", False)]
        if kappa < first:
            return [*conditions, _has_a_mean(setting)]
        return [
            *conditions,
            given(
                "no stationary density gathered about a direction exists beside the uniform one",
                ordered < 1e-6,
            ),
        ]

    def limit(self, setting: Setting) -> str:
        """Which stationary density."""
        critical = self._critical(setting)
        if setting.temperature > critical:
            return f"{_what(setting)} is {_EXPECTED}, the uniform one: kappa exceeds {critical:.6g}"
        return (
            f"{_what(setting)} is {_EXPECTED}, about a direction with |mean| = "
            f"{self._ordered(setting):.6f}: kappa is below {critical:.6g}"
        )

    def deviation(self, end: End) -> Deviation:
        """Of the mean's length."""
        return _of_mean(end, self._ordered(end.setting), self._critical(end.setting))

    def _critical(self, setting: Setting) -> float:
        """The threshold of degree one."""
        c, a = self.factors(setting)
        degree, d = np.array([1.0]), setting.space.dimension
        return float(growth.thresholds(setting.attention.law, a, c, degree, d)[0])

    def _ordered(self, setting: Setting) -> float:
        c, a = self.factors(setting)
        kappa, d = setting.temperature, setting.space.dimension
        return ordered_mean(setting.attention.law, a, c, kappa, d)


class NearUniform(_Isotropic):
    """Small perturbations of the uniform density grow or decay, degree by degree."""

    name = "growth"
    source = "arXiv 2410.23228, Funk-Hecke"

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """A start that is nearly uniform, with that of tokens' fluctuations."""
        start = setting.measure
        amplitude = abs(start.amplitude) if isinstance(start, ZonalHarmonic) else np.inf
        if isinstance(start, Uniform):
            amplitude = 0.0
        if setting.tokens is not None and not setting.has_density:
            amplitude += 1 / np.sqrt(len(setting.tokens))
        _, a = self.factors(setting)
        finite = bool(np.isfinite(self._rates(setting, growth.degrees(a))).all())
        return [
            given("the rates are within double precision", finite),
            Hypothesis(
                "the start is uniform but for a harmonic of an amplitude (for n tokens plus "
                f"n^(-1/2)) up to {_SMALL:g}",
                amplitude,
                _SMALL - amplitude,
                0.0,
            ),
        ]

    def limit(self, setting: Setting) -> str:
        """The rates, and which degree is the fastest."""
        _, a = self.factors(setting)
        degree = growth.degrees(a)
        rates = self._rates(setting, degree)
        best = int(rates.argmax())
        first = ", ".join(f"{rate:.5g}" for rate in rates[:4])
        text = f"perturbations of degrees 1, 2, 3, 4 grow like e^(rate t), rates {first}"
        if rates[best] <= 0:
            return f"{text}; all decay: the uniform density is linearly stable"
        return f"{text}; the fastest is degree {degree[best]:g}, with {rates[best]:.5g}"

    def deviation(self, end: End) -> Deviation | None:
        """Of the growth of the start's own degree, while it is small."""
        start = end.setting.measure
        if not isinstance(start, ZonalHarmonic) or not end.setting.has_density:
            return None
        column = end.columns.get(f"harmonic_{start.degree}")
        if column is None:
            return None
        small = np.flatnonzero(np.cumprod(column < _SMALL))
        if len(small) < 2 or column[0] <= 0 or column[small[-1]] <= 0:
            return None
        time = end.columns["t"][small[-1]]
        seen = np.log(column[small[-1]] / column[0]) / time
        rate = self._rates(end.setting, np.array([float(start.degree)]))[0]
        return Deviation(
            f"relative distance of the growth rate of degree {start.degree}, {seen:.5g} until "
            f"t = {time:g}, from {rate:.5g}",
            abs(seen - rate) / max(abs(rate), 1e-12),
            0.05,
        )

    def _rates(self, setting: Setting, degree: Array) -> Array:
        c, a = self.factors(setting)
        d, kappa = setting.space.dimension, setting.temperature
        return growth.rates(setting.attention.law, a, c, kappa, degree, d)


class Energy(Theorem):
    """The interaction energy grows, or with noise the free energy falls."""

    name = "energy"
    source = "arXiv 2312.10794; 2512.01868 with noise"
    spaces = (Sphere,)

    def of_the_model(self, setting: Setting) -> Sequence[Hypothesis]:
        """A law that follows the gradient of an energy, up to a positive factor."""
        noisy = setting.temperature > 0
        laws = ("unnormalised",) if noisy else ("softmax", "unnormalised", "sinkhorn")
        return setting.model_is(*laws)

    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """Q^T K symmetric, and V a positive multiple of it: E has a factor 1 / beta."""
        product, value = setting.product, setting.value
        size = float(np.linalg.norm(product))
        conditions = [sign("beta Q^T K is not 0", size)]
        if size == 0:
            return conditions
        factor = float((product * value).sum()) / size**2
        apart = float(np.linalg.norm(value - factor * product))
        factor *= setting.attention.beta
        asymmetry = float(np.linalg.norm(product - product.T)) / size
        return [
            *conditions,
            equal("Q^T K is symmetric", asymmetry),
            equal("V is a multiple of Q^T K", apart / max(np.linalg.norm(value), 1e-300)),
            sign("that multiple is positive", factor),
            *self._noise_of_one(setting, factor),
        ]

    def limit(self, setting: Setting) -> str:
        """What never falls."""
        if setting.temperature > 0:
            return "the free energy F = kappa H - E never grows"
        return "the interaction energy E never falls"

    def deviation(self, end: End) -> Deviation | None:
        """The largest fall between samples, over the range."""
        name, way = ("free_energy", -1) if end.setting.temperature > 0 else ("energy", 1)
        column = end.columns.get(name)
        if column is None or len(column) < 2 or not np.all(np.isfinite(column)):
            return None
        falls = -(way * np.diff(column)).min()
        extent = max(float(np.ptp(column)), 1e-9 * float(np.abs(column).max()))
        what = "rise of F" if way < 0 else "fall of E"
        return Deviation(
            f"largest {what} between samples, over its range", max(falls / extent, 0.0), 1e-4
        )

    @staticmethod
    def _noise_of_one(setting: Setting, factor: float) -> list[Hypothesis]:
        if setting.temperature == 0:
            return []
        return [equal("with noise, V = K^T Q", abs(factor - 1))]


def _not_zero(what: str, number: float) -> Hypothesis:
    return sign(f"{what} is not 0", abs(number))


def _has_a_mean(setting: Setting) -> Hypothesis:
    return positive("the mean at t = 0 is not 0", setting.mean_length, least=_SMALLEST_MEAN)


def _no_majority(tokens: Array) -> Hypothesis:
    """That others can balance those in one place: they stay together."""
    _, counts = np.unique(tokens, axis=0, return_counts=True)
    return given(
        "half of the tokens at most are in one place", bool(2 * counts.max() <= len(tokens))
    )


def _away_from(critical: float, temperature: float) -> Hypothesis:
    """That noise is not at a threshold."""
    apart = abs(temperature / critical - 1)
    return Hypothesis(
        f"kappa is away from its threshold {critical:.6g}", temperature, apart, MARGIN
    )


def _what(setting: Setting) -> str:
    return "the density" if setting.has_density else "the density of tokens"


def _of_mean(end: End, length: float, critical: float) -> Deviation:
    """How far |mean| is from a length, and how far it may be.

    That of n tokens fluctuates by (n |1 - kappa_1 / kappa|)^{-1/2} about uniform states, with
    kappa_1 the threshold: noise adds 2 kappa (d - 1) / (d n) per time to the variance of each
    coordinate, which decays at the rate (d - 1) (kappa - kappa_1). About ordered states it is less.
    """
    kappa, bound = end.setting.temperature, _SMALLEST_MEAN
    if kappa > 0 and end.points is not None and not end.setting.has_density:
        bound += 3 / float(np.sqrt(len(end.points) * abs(1 - critical / kappa)))
    return Deviation(f"distance of |mean| from {length:.6f}", abs(end.mean_length - length), bound)
