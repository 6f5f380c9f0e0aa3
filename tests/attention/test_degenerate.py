"""Measures and targets at which transforms and quotients could break."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from meanformer.attention import Attention, Sphere

# Poles, the seam of longitude on both sides, antipodes, neighbours at round-off, a bulk point.
SPECIAL = np.array(
    [
        [0, 0, 1],
        [0, 0, -1],
        [1, 0, 0],
        [-1, 0, 0],
        [0, 1, 0],
        [0.6, 1e-17, 0.8],
        [0.6, -1e-17, 0.8],
        [0.6, -1e-300, 0.8],
        [0.6, -0.0, -0.8],
        [-0.6, 1e-16, 0.8],
        [-0.6, -1e-16, 0.8],
        [1e-9, 0, 1],
        [-1e-9, 1e-9, -1],
        [1e-200, 1e-200, 1],
        [2 / 3, -1 / 3, 2 / 3],
        [-2 / 3, 1 / 3, -2 / 3],
    ]
)
PICK = st.lists(st.integers(0, len(SPECIAL) - 1), min_size=1, max_size=12)
WEIGHT = st.sampled_from([0.0, 0.0, 1e-12, 0.3, 1.0])


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("backend", ["direct", "harmonic"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), beta=st.sampled_from([-30.0, -1.0, 0.0, 1e-9, 2.0, 30.0, 100.0]))
def test_degenerate_measures_have_the_velocity_of_the_definition(
    reference, law, backend, data, beta
):
    points = SPECIAL[data.draw(PICK, "points")]
    targets = SPECIAL[data.draw(PICK, "targets")]
    count = len(points)
    weights = np.array(data.draw(st.lists(WEIGHT, min_size=count, max_size=count), "weights"))
    weights[data.draw(st.integers(0, count - 1), "heavy")] = 1.0
    weights /= weights.sum()
    # The harmonic backend serves many pairs only: ask it many times the same.
    repeats = 1 if backend == "direct" else 20_000 // (count * len(targets)) + 1
    evaluator = Attention(law, beta).prepare(np.tile(targets, (repeats, 1)), points, Sphere(3))
    assert evaluator.backend == backend
    got = evaluator(weights).velocity
    wanted = reference(Attention(law, beta), targets, points, weights).velocity
    largest = 1.0 if law == "softmax" else np.exp(abs(beta))
    # Two units of the default tolerance: Z and the moment each have one.
    assert np.abs(got - np.tile(wanted, (repeats, 1))).max() <= 2e-10 * largest
    assert np.abs(np.einsum("ij,ij->i", got, np.tile(targets, (repeats, 1)))).max() <= (
        1e-12 * largest
    )


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("copies", [10, 40_000])
def test_a_point_mass_draws_along_the_great_circle(law, copies):
    # v = sin(phi) e towards the mass, at an angle phi from it; e^{beta cos(phi)} times that
    # for the unnormalised law. The mass is one point, or that many copies of it.
    beta, phi = 4.0, np.linspace(0, np.pi, 9)
    towards, across = np.array([[0, 0, 1.0], [0.8, -0.6, 0]])
    targets = np.cos(phi)[:, None] * towards + np.sin(phi)[:, None] * across
    tangent = np.sin(phi)[:, None] * towards - np.cos(phi)[:, None] * across
    factor = np.sin(phi) * (np.exp(beta * np.cos(phi)) if law == "unnormalised" else 1)
    points, weights = np.tile(towards, (copies, 1)), np.full(copies, 1 / copies)
    v = Attention(law, beta).velocity(targets, points, weights, Sphere(3))
    assert np.abs(v - factor[:, None] * tangent).max() <= 1e-10 * np.abs(factor).max()


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("count", [1, 30_000])
def test_an_antipodal_pair_cancels_on_its_equator(law, count):
    angle = np.linspace(0, 2 * np.pi, count)
    equator = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    poles = np.array([[0, 0, 1.0], [0, 0, -1.0]])
    v = Attention(law, 7.0).velocity(equator, poles, np.array([0.5, 0.5]), Sphere(3))
    assert np.abs(v).max() < 1e-12 * (1 if law == "softmax" else np.exp(7))


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("count", [3, 30_000])
def test_no_targets_no_velocities(on_sphere, law, count):
    points = on_sphere(1, count)
    v = Attention(law).velocity(np.empty((0, 3)), points, np.ones(count), Sphere(3))
    assert v.shape == (0, 3)


@pytest.mark.parametrize("count", [3, 30_000])
def test_no_points_no_unnormalised_velocity(on_sphere, count):
    v = Attention("unnormalised").velocity(
        on_sphere(1, count), np.empty((0, 3)), np.empty(0), Sphere(3)
    )
    assert np.array_equal(v, np.zeros((count, 3)))
