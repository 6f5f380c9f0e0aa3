"""Moments on the circle, and functions made from them."""

import numpy as np
import pytest

from meanformer.attention.transforms import circle as fourier
from meanformer.attention.transforms import nonuniform

DEGREE = 40


def exact_moments(points, weights):
    angle = np.arctan2(points[:, 1], points[:, 0]).astype(np.longdouble)
    return np.exp(-1j * np.arange(DEGREE + 1)[:, None] * angle) @ weights


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_moments_are_those_of_the_definition(on_sphere, count):
    points, weights = on_sphere(1, count, 2), np.random.default_rng(2).normal(size=count)
    got = fourier.analyse(fourier.angles(points), weights, DEGREE, None)
    assert np.abs(got - exact_moments(points, weights)).max() < 3e-14 * np.abs(weights).sum()


def test_nothing_has_no_moments():
    got = fourier.analyse(np.empty((0, 1)), np.empty(0), DEGREE, None)
    assert got.shape == (DEGREE + 1,) and not got.any()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_functions_are_fourier_series(on_sphere, count):
    generator = np.random.default_rng(3)
    moments = generator.normal(size=(count, DEGREE + 1)) + 1j * generator.normal(
        size=(count, DEGREE + 1)
    )
    moments[:, 0] = moments[:, 0].real
    angle = fourier.angles(on_sphere(4, 100, 2))
    k = np.arange(1, DEGREE + 1)[:, None]
    wanted = moments[:, :1].real + 2 * (moments[:, 1:] @ np.exp(1j * k * angle[:, 0])).real
    assert np.abs(fourier.synthesise(moments, angle) - wanted).max() < 1e-11
    assert fourier.synthesise(moments, angle[:0]).shape == (count, 0)


def test_a_collapsed_cluster_keeps_its_moments():
    # Equal terms added up one by one would be off by 1e-12.
    count = 200_000
    point = np.array([[0.6, 0.8]])
    got = fourier.analyse(
        fourier.angles(np.tile(point, (count, 1))), np.full(count, 1 / count), DEGREE, None
    )
    assert np.abs(got - exact_moments(point, np.ones(1))).max() < 3e-14


def test_crowds_are_seen_where_points_coincide(on_sphere):
    spread = on_sphere(5, 20_000)
    crowd = np.concatenate([spread, np.tile(spread[:1], (5_000, 1))])
    assert nonuniform.crowded(crowd) and not nonuniform.crowded(spread)
    assert not nonuniform.crowded(np.tile(spread[:1], (1000, 1)))


def test_random_parts_add_up():
    weights = np.random.default_rng(6).normal(size=1000)
    first, second = nonuniform.random_parts(weights)
    assert np.abs(first + second - weights).max() < 1e-15
