"""Growth rates about the uniform density, thresholds of noise, and ordered stationary states."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import eval_gegenbauer, eval_legendre, iv

from meanformer.theory import growth
from meanformer.theory.stationary import ordered_mean


def eigenvalue(slope, degree, dimension):
    """w_k, by its definition: an integral against the zonal harmonic of a degree."""
    order = dimension / 2 - 1

    def zonal(t):
        if dimension == 2:
            return np.cos(degree * np.arccos(t))
        if dimension == 3:
            return eval_legendre(degree, t)
        return eval_gegenbauer(degree, order, t) / eval_gegenbauer(degree, order, 1.0)

    def against(f):
        return quad(lambda s: f(np.cos(s)) * np.sin(s) ** (dimension - 2), 0, np.pi, epsabs=1e-13)[
            0
        ]

    return against(lambda t: zonal(t) * np.exp(slope * t)) / against(lambda t: 1.0)


@pytest.mark.parametrize("dimension", [2, 3, 5, 8])
@pytest.mark.parametrize("slope", [-3.0, 0.5, 7.0])
def test_eigenvalues_are_those_of_the_kernel(slope, dimension):
    mean = np.exp(growth.log_partition(slope, dimension))
    assert mean == pytest.approx(eigenvalue(slope, 0, dimension), rel=1e-10)
    ratios = growth.ratios(slope, np.arange(4.0), dimension)
    expected = [eigenvalue(slope, k, dimension) / mean for k in range(4)]
    assert ratios == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dimension", [64, 768])
def test_eigenvalues_in_many_dimensions(dimension):
    # <x, y> is nearly normal with variance 1/d, and w_k / w_0 nearly (a/d)^k.
    ratios = growth.ratios(0.5, np.arange(4.0), dimension)
    assert ratios == pytest.approx((0.5 / dimension) ** np.arange(4.0), rel=10 / dimension)
    assert growth.log_partition(0.5, dimension) == pytest.approx(0.125 / dimension, rel=1e-4)
    # The series and the Bessel functions meet.
    below, above = (growth.ratios(31 + step, np.arange(9.0), 64) for step in (-1e-9, 0.0))
    assert below == pytest.approx(above, rel=1e-7)


def test_rates_at_beta_five_on_the_circle():
    degree = growth.degrees(5.0)
    softmax, unnormalised = (
        growth.rates(law, 5.0, 1.0, 0.0, degree, 2) for law in ("softmax", "unnormalised")
    )
    assert softmax[2] == pytest.approx(0.68268, abs=5e-6)
    assert unnormalised[2] == pytest.approx(18.596, abs=5e-4)
    # The fastest degree is 3 there, and 4 at beta = 7 (arXiv 2410.23228).
    assert [growth.rates("softmax", b, 1.0, 0.0, degree, 2).argmax() + 1 for b in (5, 7)] == [3, 4]


def test_sinkhorn_is_half_of_softmax_where_the_kernel_is_nearly_one():
    degree = np.array([1.0, 2.0])
    sinkhorn = growth.rates("sinkhorn", 1e-6, 1.0, 0.0, degree, 3)
    assert sinkhorn[0] == pytest.approx(2 / 3, rel=1e-5)
    assert abs(sinkhorn[1]) < 1e-5


def test_thresholds_without_logits():
    degree = np.array([1.0, 2.0])
    for law in growth.LAWS:
        near, at = (growth.thresholds(law, slope, 2.0, degree, 5) for slope in (1e-9, 0.0))
        assert at == pytest.approx([2 / 5, 0.0]) and near == pytest.approx(at, abs=1e-8)


def test_the_degree_one_threshold_of_the_unnormalised_law():
    first = growth.thresholds("unnormalised", 3.0, 1.0, np.array([1.0]), 2)
    assert first == pytest.approx(1.3177901, abs=1e-7)


@pytest.mark.parametrize(
    ("law", "dimension", "temperature", "mean"),
    [
        ("unnormalised", 3, 0.29430355, 0.6844788477),
        ("softmax", 3, 0.25042823, 0.5241689995),
        ("unnormalised", 2, 0.45212728, 0.6822258473),
        ("softmax", 2, 0.35711197, 0.5886299427),
    ],
)
def test_ordered_states_at_beta_one(law, dimension, temperature, mean):
    # kappa is given to eight digits.
    assert ordered_mean(law, 1.0, 1.0, temperature, dimension) == pytest.approx(mean, abs=5e-8)


@pytest.mark.parametrize("dimension", [2, 3, 6])
def test_without_logits_states_are_of_von_mises_and_fisher(dimension):
    kappa = 0.6 / dimension
    mean = ordered_mean("softmax", 0.0, 1.0, kappa, dimension)
    concentration, order = mean / kappa, dimension / 2
    assert iv(order, concentration) / iv(order - 1, concentration) == pytest.approx(mean, abs=1e-9)
    assert ordered_mean("softmax", 0.0, 1.0, 1.1 / dimension, dimension) < 1e-6


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
def test_ordered_states_tend_to_those_without_logits(law):
    near, at = (ordered_mean(law, slope, 1.0, 0.2, 3) for slope in (1e-9, 0.0))
    assert near == pytest.approx(at, abs=1e-8)


def test_the_ordered_branch_folds_back():
    # d = 2, beta = 3: both states are there at the kappa where their free energies are equal.
    mean = ordered_mean("unnormalised", 3.0, 1.0, 1.3294553, 2)
    assert mean == pytest.approx(0.4815438, abs=2e-6)
    assert 1.3294553 > growth.thresholds("unnormalised", 3.0, 1.0, np.array([1.0]), 2)[0]
