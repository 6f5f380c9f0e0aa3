"""What tokens hold of earlier ones: the formulas against the linear dynamics of many labels."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import expm

from meanformer.theory.positions import correlation, influence

DECAYS = [0.0, 2.0, -1.5]


def propagator(number, growth, decay):
    """e^{at P} of n tokens, P_ji ~ e^{-lambda (j-i) / n} for i < j, rows adding up to 1."""
    gaps = np.arange(number)[:, None] - np.arange(number)
    weights = np.where(gaps > 0, np.exp(-decay * gaps / number), 0.0)
    weights[1:] /= weights[1:].sum(axis=1, keepdims=True)
    return expm(growth * weights)


LATER, LABEL = np.array([1.0, 1.0, 0.75, 0.75]), np.array([0.25, 0.75, 0.25, 0.5])


def entries(matrix):
    """Those of tokens LATER and LABEL, times their number."""
    j, i = (np.round(len(matrix) * labels).astype(int) - 1 for labels in (LATER, LABEL))
    return len(matrix) * matrix[j, i]


@pytest.mark.parametrize("growth", [0.7, 3.0, -2.0])
@pytest.mark.parametrize("decay", DECAYS)
def test_influence_is_the_limit_of_many_labels(growth, decay):
    coarse, fine = (entries(propagator(number, growth, decay)) for number in (200, 400))
    wanted = influence(LATER, LABEL, growth, decay)
    assert np.abs(2 * fine - coarse - wanted).max() < 1e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("decay", DECAYS)
def test_correlation_is_the_limit_of_many_labels(decay):
    """Of independent starts. What the first few tokens share comes in late as n grows."""
    spread = propagator(600, 0.67, decay)
    found, wanted = entries(spread @ spread.T), correlation(LATER, LABEL, 0.67, decay)
    assert np.abs(found / wanted - 1).max() < 0.03


@pytest.mark.parametrize("growth", [0.67, 3.0, -2.0])
@pytest.mark.parametrize("decay", DECAYS)
def test_the_integral(growth, decay):
    def product(depth):  # r = s e^{-depth}
        r = 0.6 * np.exp(-depth)
        return r * influence(0.9, r, growth, decay) * influence(0.6, r, growth, decay)

    shared = quad(product, 0, 200, epsrel=1e-11, epsabs=1e-11, limit=500)[0]
    wanted = influence(0.9, 0.6, growth, decay) + shared
    assert correlation(0.9, 0.6, growth, decay) == pytest.approx(wanted, rel=1e-9)


def test_no_decay_is_the_limit_of_a_small_one():
    labels = np.linspace(0.1, 0.9, 5)
    assert correlation(1.0, labels, 1.5, 1e-9) == pytest.approx(correlation(1.0, labels, 1.5))


def test_the_first_and_the_last_are_remembered():
    """U-shaped: see the picture in docs/numerics.md."""
    profile = influence(1.0, np.linspace(0.01, 1.0, 100), 0.67, 2.0)
    lowest = profile.argmin()
    assert 5 < lowest < 60
    assert np.all(np.diff(profile[: lowest + 1]) < 0) and np.all(np.diff(profile[lowest:]) > 0)
