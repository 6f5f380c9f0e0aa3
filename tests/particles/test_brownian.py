"""Brownian steps against the spectrum of the Laplacian."""

import numpy as np
import pytest
from scipy.special import eval_gegenbauer

from meanformer.attention import Euclidean, Sphere
from meanformer.particles.brownian import brownian_step


def harmonic(degree, heights, dimension):
    """The zonal harmonic of a degree, 1 at the pole."""
    if dimension == 2:
        return np.cos(degree * np.arccos(np.clip(heights, -1, 1)))
    order = dimension / 2 - 1
    return eval_gegenbauer(degree, order, heights) / eval_gegenbauer(degree, order, 1.0)


def lengths(dimension):
    """Lengths of standard normal vectors in a tangent space: nodes and weights of their law."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    r = 7.5 * (nodes + 1)
    density = weights * r ** (dimension - 2) * np.exp(-(r**2) / 2)
    return r, density / density.sum()


def decay(degree, diffusion, dimension):
    """What a step from the pole makes of a harmonic: its mean over all directions and lengths."""
    r, weights = lengths(dimension)
    pole = np.eye(dimension)[[0]].repeat(len(r), axis=0)
    normals = np.outer(r, np.eye(dimension)[1])
    normals[:, 0] = 3.0  # across the sphere: no part of the step
    heights = brownian_step(pole, normals, diffusion, Sphere(dimension))[:, 0]
    return weights @ harmonic(degree, heights, dimension)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
class TestHarmonics:
    """Degree k decays like e^{-kappa k (k+d-2) h}."""

    @pytest.mark.parametrize("diffusion", [0.01, 0.3, 2.0])
    def test_on_the_circle_steps_are_exact(self, degree, diffusion):
        assert decay(degree, diffusion, 2) == pytest.approx(
            np.exp(-diffusion * degree**2), rel=0, abs=1e-12
        )

    @pytest.mark.parametrize("dimension", [3, 5, 17])
    def test_local_errors_are_of_third_order(self, degree, dimension):
        eigenvalue = degree * (degree + dimension - 2)
        times = 0.02 / eigenvalue * 2.0 ** -np.arange(4)
        errors = [abs(decay(degree, t, dimension) - np.exp(-eigenvalue * t)) for t in times]
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        assert np.abs(orders - 3).max() < 0.05
        assert errors[0] < 1e-6


def test_in_the_plane_of_space_steps_are_gaussian():
    points, normals = np.random.default_rng(1).normal(size=(2, 9, 4))
    moved = brownian_step(points, normals, 0.3, Euclidean(4))
    assert np.allclose(moved, points + np.sqrt(0.6) * normals, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dimension", [2, 3, 8])
@pytest.mark.parametrize("diffusion", [1e-12, 0.1, 1e3])
def test_points_stay_on_the_sphere(on_sphere, dimension, diffusion):
    normals = np.random.default_rng(2).normal(size=(50, dimension))
    normals[0] = 0.0
    moved = brownian_step(on_sphere(3, 50, dimension), normals, diffusion, Sphere(dimension))
    assert np.abs(np.linalg.norm(moved, axis=1) - 1).max() < 4e-16
