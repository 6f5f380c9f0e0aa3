"""Drifts beside attention: their formulas, the bounds of their derivatives, what is refused."""

import numpy as np
import pytest
from scipy.stats import norm

from meanformer.attention import (
    Attention,
    Euclidean,
    Head,
    LinearDrift,
    Perceptron,
    RandomLayers,
    Rescaled,
    Schedule,
    Sphere,
)
from meanformer.attention.drift import perceptron

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(3, 3))
INNER, OFFSET, OUTER = RNG.normal(size=(5, 3)), RNG.normal(size=5), RNG.normal(size=(3, 5))
FORMULAS = {
    "relu": lambda u: u if u > 0 else 0.0,
    "gelu": lambda u: u * norm.cdf(u),
    "tanh": lambda u: (np.exp(u) - np.exp(-u)) / (np.exp(u) + np.exp(-u)),
}
DRIFTS = {"linear": LinearDrift(MATRIX)} | {
    name: Perceptron(INNER, OFFSET, OUTER, name) for name in FORMULAS
}


def measure(on_sphere, count=12):
    return on_sphere(1, count), np.full(count, 1 / count)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_perceptron_is_its_formula(name, monkeypatch):
    x, drift = RNG.normal(size=(40, 3)), DRIFTS[name]
    hidden = (x[:, None] * INNER).sum(axis=2) + OFFSET
    wanted = np.vectorize(FORMULAS[name])(hidden) @ OUTER.T
    assert np.abs(drift.velocity(x) - wanted).max() < 1e-14
    monkeypatch.setattr(perceptron, "_ENTRIES", 35)  # seven points at a time
    assert np.abs(drift.velocity(x) - wanted).max() < 1e-14
    assert drift.velocity(x[:0]).shape == (0, 3)


def test_relu_is_the_default():
    assert Perceptron(INNER, OFFSET, OUTER).activation == "relu"


@pytest.mark.parametrize("name", DRIFTS)
@pytest.mark.parametrize("space", [Sphere(3), Euclidean(3)], ids=["sphere", "euclidean"])
def test_it_is_added_to_attention_and_is_tangent(on_sphere, name, space):
    (points, weights), x = measure(on_sphere), on_sphere(2, 7)
    heads = [Head(MATRIX), Head(None, None, -MATRIX)]
    alone, beside = (Attention(beta=2.0, heads=heads, drift=d) for d in (None, DRIFTS[name]))
    moved = DRIFTS[name].velocity(x)
    if isinstance(space, Sphere):
        moved -= np.einsum("ij,ij->i", x, moved)[:, None] * x
    wanted = alone.velocity(x, points, weights, space) + moved
    assert np.abs(beside.velocity(x, points, weights, space) - wanted).max() < 1e-14
    # It does not see the measure.
    evaluate = beside.prepare(x, points, space)
    for changed in (weights, 2 * weights):
        assert np.abs(evaluate(changed).velocity - wanted).max() < 1e-14


@pytest.mark.parametrize("name", DRIFTS)
@pytest.mark.parametrize("space", [Sphere(3), Euclidean(3)], ids=["sphere", "euclidean"])
def test_rate_bounds_the_derivative(on_sphere, name, space):
    drift, h = DRIFTS[name], 1e-5
    x = on_sphere(3, 400) if isinstance(space, Sphere) else 3 * RNG.normal(size=(400, 3))
    along = space.tangent(x, RNG.normal(size=x.shape))
    along /= np.linalg.norm(along, axis=1)[:, None]

    def velocity(y):
        y = space.retract(y)
        return space.tangent(y, drift.velocity(y))

    slopes = np.linalg.norm(velocity(x + h * along) - velocity(x - h * along), axis=1) / (2 * h)
    bound = drift.rate(space)
    assert 0.05 * bound < slopes.max() <= bound * (1 + 1e-6)


def test_bounds_are_reached():
    e = np.eye(2)
    assert LinearDrift([[0.0, 3.0], [0.0, 0.0]]).rate(Euclidean(2)) == 3.0
    # gelu' = Phi(u) + u Phi'(u) is largest at the square root of 2.
    u = np.linspace(-4, 4, 100_001)
    slope = (norm.cdf(u) + u * norm.pdf(u)).max()
    bound = Perceptron(e, [0, 0], 2 * e, "gelu").slope / 2
    assert bound == pytest.approx(slope, abs=1e-9)


def test_attention_adds_the_rate_to_its_own(on_sphere):
    points, weights = measure(on_sphere)
    for space in (Sphere(3), Euclidean(3)):
        alone, beside = Attention(beta=2.0), Attention(beta=2.0, drift=DRIFTS["linear"])
        field = beside.evaluate(points, points, weights, space)
        wanted = alone.rate_bound(field, space) + DRIFTS["linear"].rate(space)
        assert beside.rate_bound(field, space) == wanted


def test_random_layers_keep_it():
    layers = RandomLayers(Attention(drift=DRIFTS["tanh"]), 3, seed=1)
    assert all(layers.layer(number).drift is DRIFTS["tanh"] for number in range(4))


def test_arrays_of_the_caller_may_change():
    matrix, inner = np.eye(3), np.eye(3)
    drifts = LinearDrift(matrix), Perceptron(inner, np.zeros(3), np.eye(3))
    matrix[:] = inner[:] = 0
    for drift in drifts:
        assert np.array_equal(drift.velocity(np.eye(3)), np.eye(3))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LinearDrift(2.0), r"matrix has shape \(\); must be \(d, d\)"),
        (lambda: LinearDrift(np.ones((2, 3))), r"shape \(2, 3\)"),
        (lambda: LinearDrift([[np.nan]]), "finite"),
        (lambda: LinearDrift([[1j]]), "real"),
        (lambda: Perceptron(INNER, OFFSET, OUTER, "selu"), "allowed: relu, gelu, tanh"),
        (lambda: Perceptron(OFFSET, OFFSET, OUTER), r"U has shape \(5,\); must be \(h, d\)"),
        (lambda: Perceptron(INNER, OFFSET[:4], OUTER), r"b has shape \(4,\); must be \(5,\)"),
        (lambda: Perceptron(INNER, OFFSET, INNER), r"W has shape \(5, 3\); must be \(3, 5\)"),
        (lambda: Perceptron(INNER, OFFSET * np.inf, OUTER), "b must be finite"),
        (lambda: Perceptron(INNER, OFFSET, OUTER * 1j), "W must be of real numbers"),
        (lambda: Attention(drift=MATRIX), "drift must be None or a Drift"),
    ],
)
def test_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("drift", "match"),
    [
        (LinearDrift(np.eye(2)), r"drift: matrix has shape \(2, 2\); must be \(3, 3\)"),
        (Perceptron(np.ones((4, 2)), np.ones(4), np.ones((2, 4))), r"U .*; must be \(4, 3\)"),
    ],
)
def test_of_another_dimension_than_the_space(on_sphere, drift, match):
    points, weights = measure(on_sphere)
    with pytest.raises(ValueError, match=match):
        Attention(drift=drift).velocity(points, points, weights, Sphere(3))


def test_rescaled_variables_are_for_attention_alone():
    drifting = Attention(drift=DRIFTS["linear"])
    with pytest.raises(ValueError, match="drift is not None"):
        Rescaled(drifting, 3)
    later = Rescaled(Schedule([Attention(), drifting], 1.0), 3)
    with pytest.raises(ValueError, match="drift is not None"):
        later.during(1.0)
