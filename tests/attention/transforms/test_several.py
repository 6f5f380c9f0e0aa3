"""Moments of many small measures at once against those of the transforms, one by one."""

import numpy as np
import pytest

from meanformer.attention.transforms import circle, sphere
from meanformer.attention.transforms.several import of_circle, of_sphere

DEGREE = 8


@pytest.mark.parametrize("number", [1, 2, 40])
def test_moments_of_each_measure(number, on_sphere):
    weights = np.random.default_rng(0).normal(size=(7, number))
    points = on_sphere(1, 7 * number).reshape(7, number, 3)
    poles = np.eye(3)[[2, 2]] * [[1.0], [-1.0]]
    points[:2, 0] = poles
    found = of_sphere(points, weights, DEGREE)
    for own, share, row in zip(points, weights, found, strict=True):
        moments = sphere.analyse(sphere.angles(own), share, DEGREE, None)
        wanted = sphere.degree_power(moments, moments, DEGREE)
        assert np.abs(row - wanted).max() < 1e-12 * np.abs(share).sum() ** 2
    flat = points[..., :2] + 0.1
    flat /= np.linalg.norm(flat, axis=2)[..., None]
    found = of_circle(flat, weights, DEGREE)
    for own, share, row in zip(flat, weights, found, strict=True):
        wanted = np.abs(circle.analyse(circle.angles(own), share, DEGREE, None))
        assert np.abs(row - wanted).max() < 1e-12 * np.abs(share).sum()


def test_no_measures_have_none():
    assert of_sphere(np.empty((0, 5, 3)), np.empty((0, 5)), DEGREE).shape == (0, DEGREE + 1)
    assert of_circle(np.empty((0, 5, 2)), np.empty((0, 5)), DEGREE).shape == (0, DEGREE + 1)
