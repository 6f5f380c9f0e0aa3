"""Measures and targets at which transforms and quotients could break."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, reject, settings

from meanformer.attention import Attention, Euclidean, Sphere

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
SCALE = st.sampled_from([1.0, 1e-3, 1e4])


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("backend", ["direct", "laplace", "harmonic"])
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
    if backend == "laplace":  # whose grids in three dimensions are for moderate logits
        beta = np.clip(beta, -10, 10)
    got = Attention(law, beta).velocity(targets, points, weights, Sphere(3), backend=backend)
    wanted = reference(Attention(law, beta), targets, points, weights).velocity
    largest = 1.0 if law == "softmax" else np.exp(abs(beta))
    # Two units of the default tolerance: Z and the moment each have one.
    assert np.abs(got - wanted).max() <= 2e-10 * largest
    assert np.abs(np.einsum("ij,ij->i", got, targets)).max() <= 1e-12 * largest


# Corners and midpoints of a square, which are corners of any even number of boxes; neighbours at
# round-off; the centre; a line through it.
PLANE = np.array(
    [[i, j] for i in (-1.0, 0.0, 1.0) for j in (-1.0, 0.0, 1.0)]
    + [[0.5, 0.5], [-0.25, -0.25], [1 - 1e-16, 1.0], [1e-17, -1e-300], [np.nextafter(0.5, 1), 0.5]]
)
MATRIX = np.array([[0.8, -0.5], [0.7, 0.2]])


def measures(draw, special):
    points = special[draw(st.lists(st.integers(0, len(special) - 1), min_size=1, max_size=12))]
    targets = special[draw(st.lists(st.integers(0, len(special) - 1), min_size=1, max_size=12))]
    count = len(points)
    weights = np.array(draw(st.lists(WEIGHT, min_size=count, max_size=count)))
    weights[draw(st.integers(0, count - 1))] = 1.0
    return targets, points, weights / weights.sum()


@pytest.mark.parametrize("law", ["softmax", "l2", "sinkhorn"])
@pytest.mark.parametrize("backend", ["direct", "laplace"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), beta=st.sampled_from([-30.0, 0.0, 1e-9, 2.0, 100.0]), scale=SCALE)
def test_degenerate_measures_of_the_plane(reference, law, backend, data, beta, scale):
    targets, points, weights = measures(data.draw, PLANE)
    if data.draw(st.booleans(), "collinear"):
        points = points[:, :1] * np.array([0.6, -0.8])
    if law == "sinkhorn":  # which has no solution where points repeat without weight
        beta = np.clip(beta, -3, 3)
    # The size of the space and that of the logits do not matter apart from each other.
    points, targets, matrix = scale * points, scale * targets, MATRIX / scale**2
    attention = Attention(law, beta, matrix, None, [[0.0, 1.0], [1.0, 0.5]])
    if law == "l2":
        attention = Attention(law, beta, 1 / scale, 1 / scale)
    try:
        wanted = reference(attention, targets, points, weights, spherical=False)
    except RuntimeError:  # Sinkhorn's potential, of weights that differ by 1e12
        reject()
    field = attention.evaluate(targets, points, weights, Euclidean(2), backend=backend)
    assert np.abs(np.expm1(field.log_partition - wanted.log_partition)).max() <= 2e-10
    assert np.abs(field.velocity - wanted.velocity).max() <= 4e-10 * scale


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
