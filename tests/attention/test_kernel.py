"""Funk-Hecke: the kernel e^{beta <x,y>} is diagonal in spherical harmonics."""

import numpy as np
import pytest
from scipy.special import eval_legendre, gamma, iv

from meanformer.attention import Attention, Sphere
from meanformer.attention.backends.kernels import Exponential
from meanformer.attention.measures import ZonalHarmonic

T, W = np.polynomial.legendre.leggauss(400)


def quadrature(beta, lmax):
    """1/2 int e^{beta t - |beta|} P_l(t) dt, which is e^{-|beta|} w_l on S^2."""
    legendre = eval_legendre(np.arange(lmax + 1)[:, None], T)
    return legendre @ (W * np.exp(beta * T - abs(beta))) / 2


@pytest.mark.parametrize("beta", [-50.0, -1.0, -1e-3, 0.0, 1e-9, 1e-3, 1.0, 9.0, 100.0, 1000.0])
def test_eigenvalues(beta):
    assert np.abs(Exponential().eigenvalues(beta, 12, 3) - quadrature(beta, 12)).max() < 5e-14


@pytest.mark.parametrize("beta", [0.3, 5.0, 40.0])
def test_eigenvalues_are_those_of_the_theory(beta):
    # w_k = Gamma(d/2) (2/beta)^{d/2-1} I_{k+d/2-1}(beta) at d = 3.
    k = np.arange(8)
    w = gamma(1.5) * np.sqrt(2 / beta) * iv(k + 0.5, beta)
    assert np.abs(Exponential().eigenvalues(beta, 7, 3) * np.exp(beta) / w - 1).max() < 1e-13


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("degree", [1, 2, 5])
@pytest.mark.parametrize("beta", [-3.0, 1e-3, 1.0, 9.0])
def test_a_zonal_harmonic_keeps_its_shape(on_sphere, product_rule, law, degree, beta):
    # For rho = (1 + eps P_k)/(4 pi): Z = w_0 + eps w_k P_k, and v = grad Z / beta, over Z for
    # softmax; by Funk-Hecke, exactly.
    axis, eps = np.array([2.0, -1.0, 2.0]) / 3, 0.3
    points, area = product_rule(40)
    weights = area * ZonalHarmonic(degree, eps, tuple(axis)).density(points)
    x = on_sphere(1, 100)
    field = Attention(law, beta).prepare(x, points, Sphere(3))(weights)

    k = np.array([0, degree])
    w_0, w_k = gamma(1.5) * np.sqrt(2 / abs(beta)) * iv(k + 0.5, abs(beta)) * np.sign(beta) ** k
    t = x @ axis
    partition = w_0 + eps * w_k * eval_legendre(degree, t)
    lower = eval_legendre(degree - 1, t)
    slope = degree * (lower - t * eval_legendre(degree, t)) / (1 - t**2)
    wanted = (eps * w_k / beta * slope)[:, None] * (axis - t[:, None] * x)
    if law == "softmax":
        wanted /= partition[:, None]
    # The rule integrates the kernel times a harmonic to round-off of the largest speed possible.
    scale = np.exp(abs(beta)) if law == "unnormalised" else 1
    assert np.abs(field.velocity - wanted).max() < 1e-12 * scale
    assert np.abs(field.partition * np.exp(field.log_scale) / partition - 1).max() < 1e-11
