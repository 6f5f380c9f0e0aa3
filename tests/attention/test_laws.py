"""Every law in every space by every backend that can serve, against its definition."""

from itertools import product

import numpy as np
import pytest

from meanformer.attention import (
    Attention,
    AttentionDomainError,
    Euclidean,
    Head,
    Sphere,
    UnitVectors,
)
from meanformer.attention.laws import LAWS

BETAS = [-10.0, 0.0, 1e-3, 1.0, 10.0, 100.0, 1000.0]
SPACES = [Sphere(2), Sphere(3), Sphere(5), Euclidean(1), Euclidean(2), Euclidean(3), Euclidean(5)]
TOLERANCES = [1e-4, 1e-8, 1e-11]


def cloud(space, kind, seed, count):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, space.dimension))
    if kind == "clustered":
        centres = rng.normal(size=(2, space.dimension))
        points = centres[np.arange(count) % 2] + 0.05 * points
    if isinstance(space, Sphere):
        return points / np.linalg.norm(points, axis=1)[:, None]
    return points / np.abs(points).max()


def matrices(rng, dimension, rows=None):
    """Non-symmetric Q, K and V, with |K^T Q| = 1."""
    rows = rows or dimension
    query, key = rng.normal(size=(2, rows, dimension))
    value = rng.normal(size=(dimension, dimension))
    return query / np.linalg.norm(key.T @ query, 2), key, value


def check(wanted, attention, space, targets, points, weights, tolerance, backend="auto"):
    evaluator = attention.prepare(targets, points, space, tolerance, backend=backend)
    field = evaluator(weights)
    errors = np.linalg.norm(field.velocity - wanted.velocity, axis=1)
    assert np.all(errors <= tolerance * wanted.terms)
    # Exponents carry their own round-off.
    tolerance = max(tolerance, 2.3e-16 * np.abs(wanted.log_partition).max())
    if attention.law != "linear":  # whose Z is no sum of positive terms
        assert np.abs(np.expm1(field.log_partition - wanted.log_partition)).max() <= tolerance
    return evaluator


def served(law, space, scalar):
    """The backends that can serve."""
    if law in {"linear", "feature-map"}:
        return ["auto"]
    names = ["direct"]
    if law not in {"sigmoid", "hardmax"} and space.dimension <= 3:
        names.append("laplace")
    if law != "hardmax" and scalar and space in (Sphere(2), Sphere(3)):
        names.append("harmonic")
    return names


def fits(attention, space, targets, points, tolerance, backend):
    """Whether harmonics are few enough; too many are for a steep sigmoid on S^2 only."""
    try:
        attention.plan(targets, points, space, tolerance, backend=backend)
    except ValueError as error:
        assert "too many harmonics" in str(error)
        assert (attention.law, attention.beta, space) == ("sigmoid", 1000, Sphere(3))
        return False
    return True


def problems():
    """Laws, beta, and whether the points are clustered and the matrices multiples of I."""
    for law, beta, kind, scalar in product(LAWS, BETAS, ["random", "clustered"], [True, False]):
        # Its iterations converge slowest there.
        slow = {("sinkhorn", 100.0, False), ("sinkhorn", -10.0, True)}
        marks = [pytest.mark.slow] if (law, beta, scalar) in slow else []
        name = f"{law}-{beta}-{kind}-{'multiples' if scalar else 'matrices'}"
        yield pytest.param(law, beta, kind, scalar, marks=marks, id=name)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("law, beta, kind, scalar", list(problems()))
def test_meets_its_tolerance(reference, space, law, beta, kind, scalar):
    if law == "unnormalised" and beta > 300:
        pytest.skip("e^{beta} exceeds double precision")
    if law == "sinkhorn" and beta > 100 and not scalar:
        pytest.skip("its potential is beyond double precision")
    rng = np.random.default_rng(1)
    points, targets = cloud(space, kind, 2, 40), cloud(space, "random", 3, 25)
    targets = np.concatenate([targets, points[:5]])
    weights = rng.dirichlet(np.ones(40))
    query, key, value = (2.0, 0.5, -1.5) if scalar else matrices(rng, space.dimension)
    attention = Attention(law, beta, query, key, value)
    try:
        wanted = reference(attention, targets, points, weights, isinstance(space, Sphere))
    except RuntimeError as error:
        assert law == "sinkhorn" and beta >= 100
        pytest.skip(f"Sinkhorn's potential is beyond double precision: {error}")
    for backend in served(law, space, scalar):
        for tolerance in TOLERANCES:
            if fits(attention, space, targets, points, tolerance, backend):
                check(wanted, attention, space, targets, points, weights, tolerance, backend)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("law", LAWS)
class TestEveryLaw:
    def test_heads_add(self, reference, space, law):
        rng = np.random.default_rng(4)
        points, targets = cloud(space, "random", 5, 50), cloud(space, "random", 6, 20)
        weights = rng.dirichlet(np.ones(50))
        heads = [Head(*matrices(rng, space.dimension)), Head(-1.0, 2.0, 0.5)]
        attention = Attention(law, 2.0, heads=heads)
        wanted = reference(attention, targets, points, weights, isinstance(space, Sphere))
        evaluator = check(wanted, attention, space, targets, points, weights, 1e-10)
        assert len(evaluator.plans) == 2
        one_by_one = sum(
            Attention(law, 2.0, head.query, head.key, head.value).velocity(
                targets, points, weights, space
            )
            for head in heads
        )
        together = attention.velocity(targets, points, weights, space)
        assert np.abs(together - one_by_one).max() <= 1e-12 * np.abs(together).max()

    @pytest.mark.parametrize("rows", [1, 2, 7])
    def test_queries_and_keys_of_another_dimension(self, reference, space, law, rows):
        rng = np.random.default_rng(7)
        points, targets = cloud(space, "random", 8, 50), cloud(space, "random", 9, 20)
        weights = rng.dirichlet(np.ones(50))
        attention = Attention(law, 3.0, *matrices(rng, space.dimension, rows))
        wanted = reference(attention, targets, points, weights, isinstance(space, Sphere))
        check(wanted, attention, space, targets, points, weights, 1e-10)

    def test_values_relative_to_the_target(self, reference, space, law):
        rng = np.random.default_rng(10)
        points, targets = cloud(space, "random", 11, 50), cloud(space, "random", 12, 20)
        weights = rng.dirichlet(np.ones(50))
        attention = Attention(law, 3.0, *matrices(rng, space.dimension), relative=True)
        wanted = reference(attention, targets, points, weights, isinstance(space, Sphere))
        check(wanted, attention, space, targets, points, weights, 1e-10)


@pytest.mark.parametrize("scalar", [True, False])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_velocities_that_are_not_projected(reference, dimension, law, scalar):
    space, rng = UnitVectors(dimension), np.random.default_rng(20)
    points, targets = cloud(space, "random", 21, 60), cloud(space, "random", 22, 25)
    weights = rng.dirichlet(np.ones(60))
    query, key, value = (2.0, 0.5, -1.5) if scalar else matrices(rng, dimension)
    attention = Attention(law, 3.0, query, key, value)
    wanted = reference(attention, targets, points, weights, False)
    for backend in served(law, Sphere(dimension), scalar):
        check(wanted, attention, space, targets, points, weights, 1e-10, backend)


@pytest.mark.parametrize("offset", [-30.0, -1.0, 2.0])
@pytest.mark.parametrize("space", [Sphere(3), Euclidean(2)], ids=str)
def test_the_sigmoids_offset(reference, space, offset):
    points, targets = cloud(space, "random", 13, 300), cloud(space, "random", 14, 100)
    attention, weights = Attention("sigmoid", 4.0, offset=offset), np.full(300, 1 / 300)
    wanted = reference(attention, targets, points, weights, isinstance(space, Sphere))
    for backend in served("sigmoid", space, True):
        check(wanted, attention, space, targets, points, weights, 1e-10, backend)


class TestHardmax:
    def test_leaders_follow_nobody(self):
        # Vertices of a square and its centre: each vertex sees itself, the centre all of them.
        points = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1], [0, 0]])
        attention = Attention("hardmax")
        field = attention.evaluate(points, points, np.full(5, 0.2), Euclidean(2))
        assert np.allclose(field.velocity, points, atol=1e-15)
        assert np.allclose(field.partition, [[0.2, 0.2, 0.2, 0.2, 1.0]], atol=1e-15)

    @pytest.mark.parametrize(("tolerance", "wanted"), [(1e-6, 0.5), (1e-2, 1 / 3)])
    def test_ties_are_averaged_within_their_tolerance(self, tolerance, wanted):
        points = np.array([[1.0, 1.0], [1.0, 0.0], [0.999, 0.0]])
        attention = Attention("hardmax", tie_tolerance=tolerance)
        targets = np.array([[1.0, 0.0]])
        velocity = attention.velocity(targets, points, np.full(3, 1 / 3), Euclidean(2))
        assert velocity[0, 1] == pytest.approx(wanted, abs=1e-15)

    def test_is_softmax_at_infinite_beta(self):
        points, targets = cloud(Sphere(3), "random", 15, 200), cloud(Sphere(3), "random", 16, 50)
        weights = np.full(200, 1 / 200)
        hard = Attention("hardmax").velocity(targets, points, weights, Sphere(3))
        soft = Attention("softmax", 1e7).velocity(targets, points, weights, Sphere(3))
        assert np.abs(hard - soft).max() < 1e-9


class TestSinkhorn:
    @pytest.mark.parametrize("space", [Sphere(3), Euclidean(2)], ids=str)
    def test_marginals(self, space):
        points = cloud(space, "random", 17, 400)
        weights = np.random.default_rng(18).dirichlet(np.ones(400))
        query, key, _ = matrices(np.random.default_rng(19), space.dimension)
        attention = Attention("sinkhorn", 5.0, query, key)
        # Row marginals: Z e^{f} = 1 by definition. Columns: those of A^T.
        rows = -attention.evaluate(points, points, weights, space).log_partition[0]
        turned = Attention("sinkhorn", 5.0, key, query)
        columns = -turned.evaluate(points, points, weights, space).log_partition[0]
        kernel = np.exp(5 * (points @ query.T) @ (points @ key.T).T)
        scaled = np.exp(rows)[:, None] * kernel * np.exp(columns)
        scaled /= np.mean(scaled @ weights)  # f + c, g - c solve as well
        assert np.abs(scaled @ weights - 1).max() < 1e-8
        assert np.abs(weights @ scaled - 1).max() < 1e-8

    def test_starts_from_the_last_call(self):
        points = cloud(Sphere(3), "random", 20, 300)
        weights = np.full(300, 1 / 300)
        evaluator = Attention("sinkhorn", 20.0).prepare(points, points, Sphere(3))
        first = evaluator(weights)
        cold = evaluator.iterations
        again = evaluator(weights)
        assert cold > 5
        assert evaluator.iterations == 1
        assert np.array_equal(first.velocity, again.velocity)
        evaluator.warm(None)
        assert np.array_equal(evaluator(weights).velocity, first.velocity)
        assert evaluator.iterations == cold

    def test_says_that_it_has_not_converged(self):
        # Two far clusters that hardly see each other exchange mass too slowly.
        rng = np.random.default_rng(21)
        points = cloud(Euclidean(2), "random", 22, 30)
        attention = Attention("sinkhorn", 1e6, *matrices(rng, 2))
        with pytest.raises(AttentionDomainError, match="not converged"):
            attention.velocity(points, points, rng.dirichlet(np.ones(30)), Euclidean(2))
