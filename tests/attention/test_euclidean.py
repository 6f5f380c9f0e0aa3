"""Attention in R^d: Gaussians, whose softmax velocity is affine, and any measure."""

from itertools import product

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean


def gaussian(mean, factor, nodes):
    """Gauss-Hermite points of N(mean, factor factor^T)."""
    t, w = np.polynomial.hermite_e.hermegauss(nodes)
    d = len(mean)
    standard = np.array(list(product(t, repeat=d)))
    weights = np.array([np.prod(c) for c in product(w / w.sum(), repeat=d)])
    return standard @ factor.T + mean, weights


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
def test_gaussian_moves_affinely(law, dimension):
    # arXiv 2501.18322: Z = e^{<Ax,m> + <Ax,S Ax>/2} and int y e^{<Ax,y>} = (m + S A x) Z.
    rng = np.random.default_rng(1)
    query, key, value = rng.normal(size=(3, dimension, dimension))
    beta = 0.5 / np.linalg.norm(key.T @ query, 2)
    logits = beta * key.T @ query
    mean, factor = rng.normal(size=dimension), rng.normal(size=(dimension, dimension)) / 2
    covariance = factor @ factor.T
    points, weights = gaussian(mean, factor, 40)
    x = rng.uniform(-2, 2, size=(50, dimension))
    xi = x @ logits.T
    partition = np.exp(xi @ mean + np.einsum("ij,jk,ik->i", xi, covariance, xi) / 2)
    wanted = (mean + xi @ covariance) @ value.T
    if law == "unnormalised":
        wanted *= partition[:, None]

    attention = Attention(law, beta, query, key, value)
    field = attention.prepare(x, points, Euclidean(dimension))(weights)
    assert np.abs(field.velocity - wanted).max() < 1e-13 * np.abs(wanted).max()
    assert np.abs(field.partition * np.exp(field.log_scale) / partition - 1).max() < 1e-13


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("dimension", [1, 2, 5, 64])
def test_any_measure_and_matrices(reference, law, dimension):
    rng = np.random.default_rng(2)
    query, key, value = rng.normal(size=(3, dimension, dimension)) / np.sqrt(dimension)
    points, targets = rng.normal(size=(700, dimension)), rng.normal(size=(90, dimension))
    weights = rng.uniform(size=700) / 350
    attention = Attention(law, 1.5, query, key, value)
    field = attention.prepare(targets, points, Euclidean(dimension))(weights)
    wanted = reference(attention, targets, points, weights, spherical=False)
    largest_logit = np.abs(1.5 * (targets @ query.T) @ (points @ key.T).T).max()
    tolerance = 1e-14 * (10 + largest_logit)
    assert np.abs(field.velocity - wanted.velocity).max() <= (
        tolerance * np.abs(wanted.velocity).max()
    )
    assert np.abs(field.log_partition - wanted.log_partition).max() <= tolerance


def test_softmax_at_any_exponent_picks_the_largest_logit():
    # Logits of 1e6 apart: the velocity is the point with the largest <x, y>.
    points = np.array([[-3.0, 1.0], [2.0, 0.0], [0.0, 5.0]])
    targets = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    v = Attention(beta=1e6).velocity(targets, points, np.ones(3), Euclidean(2))
    assert np.abs(v - points[[1, 0, 2]]).max() < 1e-300  # terms e^{-1e6} at most


def test_translated_points_move_the_softmax_velocity_with_them(reference):
    # e^{<Ax, y + c>} has the common factor e^{<Ax,c>}: v[mu + c] = v[mu] + c.
    rng = np.random.default_rng(3)
    points, targets = rng.normal(size=(200, 2)), rng.normal(size=(20, 2))
    weights, far = np.full(200, 1 / 200), np.array([400.0, -300.0])
    attention = Attention(beta=2.0)
    near_v = attention.velocity(targets, points, weights, Euclidean(2))
    far_v = attention.velocity(targets, points + far, weights, Euclidean(2))
    # Logits of up to 2 * 500 * |x| lose that many units of round-off.
    assert np.abs(far_v - far - near_v).max() < 1e-11
