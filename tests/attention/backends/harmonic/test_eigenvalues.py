"""Zonal kernels: their eigenvalues, and the degree at which they may be cut off."""

import numpy as np
import pytest

from meanformer.attention.backends.harmonic.eigenvalues import (
    LARGEST_DEGREE,
    multiplicities,
    radial,
    slopes,
)
from meanformer.attention.backends.harmonic.sums import degree_for
from meanformer.attention.backends.kernels import Exponential, Logistic

BETAS = (-1000.0, -10.0, 0.0, 1e-3, 1.0, 10.0, 100.0, 1000.0, 1e4)
KERNELS = [(Exponential(), b) for b in BETAS]
KERNELS += [
    (Logistic(c), b) for b in (-10.0, 0.0, 1.0, 10.0, 100.0) for c in (-50.0, -3.0, 0.0, 2.0)
]
COSINES = np.concatenate([np.linspace(-1, 1, 201), 1 - np.logspace(-8, -1, 20)]).astype(
    np.longdouble
)


def kernel_values(kernel, slope, t):
    """k(t) / k_max in extended precision."""
    if isinstance(kernel, Exponential):
        return np.exp(slope * t - np.longdouble(abs(slope)))
    u, top = slope * t + kernel.offset, np.longdouble(abs(slope)) + kernel.offset
    return np.exp(np.logaddexp(0, -top) - np.logaddexp(0, -u))


def functions(degree, dimension, t):
    """C_l(t) for l = 0..degree, ``shape=(degree+1, m)``."""
    values = [np.ones_like(t), t]
    for k in range(1, degree):
        a, b = (2 * k + 1, k) if dimension == 3 else (2, 1)
        values.append((a * t * values[-1] - b * values[-2]) / (k + 1 if dimension == 3 else 1))
    return np.array(values)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kernel, slope", KERNELS, ids=str)
class TestExpansion:
    @pytest.fixture
    def expansion(self, kernel, slope, dimension):
        degree = degree_for(kernel, slope, dimension)
        known = kernel.eigenvalues(slope, degree + 1, dimension)
        basis = functions(degree, dimension, COSINES)
        return known, multiplicities(degree, dimension)[:, None] * basis

    def test_the_series_is_the_kernel(self, kernel, slope, expansion):
        known, terms = expansion
        error = known[:-1] @ terms - kernel_values(kernel, slope, COSINES)
        assert np.abs(error).max() < 2e-14

    def test_the_radial_part_is_t_times_it(self, kernel, slope, dimension, expansion):
        known, terms = expansion
        error = radial(known, dimension) @ terms - COSINES * kernel_values(kernel, slope, COSINES)
        assert np.abs(error).max() < 2e-14

    def test_slopes_belong_to_an_antiderivative(self, kernel, slope, dimension, expansion):
        # For the kernel K of the slopes, int k from t_1 to t_2 = K(t_2) - K(t_1).
        known, terms = expansion
        potential = slopes(known, dimension) @ terms
        node, weight = np.polynomial.legendre.leggauss(60)
        ends = COSINES[:201:5]
        for start, end, change in zip(ends, ends[1:], np.diff(potential[:201:5]), strict=False):
            t = start + (end - start) * (node + 1) / 2
            integral = (end - start) / 2 * weight @ kernel_values(kernel, slope, t)
            assert abs(change - integral) < 2e-15


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_degree_is_refused_where_it_would_be_too_large(dimension):
    assert degree_for(Exponential(), 1e5, dimension) < LARGEST_DEGREE[dimension]
    assert degree_for(Exponential(), 1e9, dimension) is None
    assert degree_for(Logistic(0.0), 100.0, dimension) < 1200
    assert degree_for(Logistic(0.0), 1e5, dimension) is None


def test_the_largest_value_of_the_logistic_kernel():
    for offset in (-2000.0, -3.0, 0.0, 2000.0):
        wanted = -np.logaddexp(0, -10 - offset)
        assert Logistic(offset).log_largest(-10.0) == pytest.approx(wanted, rel=1e-15)
        assert Logistic(offset).scaled(10.0, np.array([1.0]))[0] == pytest.approx(1, abs=1e-15)
