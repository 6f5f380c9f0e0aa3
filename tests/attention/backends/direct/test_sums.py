"""Sums over all pairs in few dimensions, against their definition in extended precision."""

import time

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention.backends.direct import sums as direct
from meanformer.attention.backends.direct.leaves import leaf_order
from meanformer.attention.backends.direct.sums import DirectSums
from meanformer.attention.backends.direct.tiles import LEAF
from meanformer.attention.backends.kernels import Exponential, Indicator, Logistic

ALONE = MPI.COMM_SELF
BETAS = [-10.0, 0.0, 1e-3, 1.0, 10.0, 100.0, 1000.0]


def cloud(seed, count, dimension, clustered):
    """Points of length about one."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, dimension)) / np.sqrt(dimension)
    return x[rng.integers(0, 3, count)] + 1e-3 * x if clustered else x


def check(got, queries, points, weights, factors=0.0, round_off=1e-14):
    """log Z and the mean, to round-off of the logits."""
    x, y, w = (np.asarray(a, np.longdouble) for a in (queries, points, weights))
    logits = x @ y.T + np.asarray(factors, np.longdouble)
    used = logits[:, weights != 0]
    top = used.max(axis=1)
    terms = w[weights != 0] * np.exp(used - top[:, None])
    total = terms.sum(axis=1)
    # Cancellation among negative weights amplifies round-off.
    conditions = np.abs(terms).sum(axis=1) / np.abs(total)
    bound = round_off * (10 + np.abs(used).max(axis=1)) * conditions
    ratio = got.partition / total * np.exp(got.log_scale - top)
    assert np.all(np.abs(ratio - 1) < bound)
    mean = (terms @ y[weights != 0]) / total[:, None]
    sizes = np.abs(points).max() * bound[:, None]
    assert np.all(np.abs(got.moment / got.partition[:, None] - mean) <= sizes)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 17])
def test_the_exponential(dimension, beta, clustered):
    x, y = cloud(1, 70, dimension, clustered), cloud(2, 600, dimension, clustered)
    weights = np.random.default_rng(3).dirichlet(np.ones(600))
    backend = DirectSums(beta * x, y, ALONE)
    check(backend.sums(weights), beta * x, y, weights, round_off=1e-14)
    log_scale, partition, _ = backend.sums(weights, moment=False)
    both = backend.sums(weights)
    assert np.array_equal(log_scale, both.log_scale)
    np.testing.assert_allclose(partition, both.partition, rtol=10 * 1e-14)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 17])
def test_factors_over_thousands_of_nats(dimension):
    x, y = cloud(1, 70, dimension, False), cloud(2, 600, dimension, False)
    rng = np.random.default_rng(3)
    weights, factors = rng.random(600), rng.uniform(-5000, 5000, 600)
    check(DirectSums(x, y, ALONE).sums(weights, factors), x, y, weights, factors)
    # Constants among them are powers of the scale.
    sums, shifted = (DirectSums(x, y, ALONE).sums(weights, f) for f in (None, np.full(600, -4e3)))
    np.testing.assert_allclose(
        shifted.log_scale + np.log(shifted.partition),
        sums.log_scale + np.log(sums.partition) - 4e3,
        rtol=1e-14,
    )


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 17])
@pytest.mark.parametrize("beta", BETAS)
def test_the_sigmoid(dimension, beta):
    x, y = beta * cloud(1, 70, dimension, False), cloud(2, 600, dimension, False)
    weights = np.random.default_rng(3).normal(size=600)
    sums = DirectSums(x, y, ALONE, Logistic(-1.5)).sums(weights)
    logits = x.astype(np.longdouble) @ y.T - 1.5
    kernel = weights / (1 + np.exp(-logits))
    assert not sums.log_scale.any()
    bound = 1e-14 * (10 + np.abs(logits).max(axis=1)) * np.abs(kernel).sum(axis=1)
    assert np.all(np.abs(sums.partition - kernel.sum(axis=1)) <= bound)
    assert np.all(np.abs(sums.moment - kernel @ y) <= bound[:, None] * np.abs(y).max())


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 17])
@pytest.mark.parametrize("count", [40, 6000])
def test_hardmax(dimension, count):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(700, dimension)), rng.normal(size=(count, dimension))
    y[5] = y[0]  # ties
    weights = rng.random(count)
    weights[[int(np.argmax(y @ x[0])), 7]] = 0  # these do not count
    sums = DirectSums(x, y, ALONE, Indicator(1e-12)).sums(weights)
    logits = np.where(weights != 0, x @ y.T, -np.inf)
    chosen = logits >= logits.max(axis=1, keepdims=True) - 1e-12
    assert not sums.log_scale.any()
    np.testing.assert_allclose(sums.partition, chosen @ weights, rtol=1e-14)
    np.testing.assert_allclose(sums.moment, chosen @ (weights[:, None] * y), rtol=1e-13)


def test_hardmax_takes_what_is_within_its_tolerance():
    y = np.array([[1.0], [0.96], [0.94], [-2.0]])
    sums = DirectSums(np.array([[10.0]]), y, ALONE, Indicator(0.025)).sums(np.ones(4))
    assert sums.partition[0] == 2  # 10 - 0.025 * 10 * 2 = 9.5
    assert sums.moment[0, 0] == 1.96


class TestDegenerate:
    x = cloud(1, 5, 3, False)

    def test_one_point(self):
        y = cloud(2, 1, 3, False)
        check(DirectSums(700 * self.x, y, ALONE).sums(np.ones(1)), 700 * self.x, y, np.ones(1))

    def test_one_point_repeated(self):
        y = np.tile(cloud(2, 1, 3, False), (9000, 1))
        sums = DirectSums(700 * self.x, y, ALONE).sums(np.full(9000, 1 / 9000))
        check(sums, 700 * self.x, y, np.full(9000, 1 / 9000))

    def test_points_without_weight_do_not_set_the_maximum(self):
        y = np.vstack([self.x, -self.x, 0.01 * self.x])
        weights = np.repeat([0.0, 0.0, 1.0], 5)
        check(DirectSums(1e5 * self.x, y, ALONE).sums(weights), 1e5 * self.x, y, weights)

    def test_all_weight_on_one_point(self):
        y, weights = cloud(2, 5000, 3, False), np.zeros(5000)
        weights[1234] = 0.5
        sums = DirectSums(1e4 * self.x, y, ALONE).sums(weights)
        check(sums, 1e4 * self.x, y, weights)

    def test_weights_of_any_size(self):
        y = cloud(2, 400, 3, False)
        weights = 10.0 ** np.random.default_rng(3).uniform(-320, 300, 400)
        check(DirectSums(100 * self.x, y, ALONE).sums(weights), 100 * self.x, y, weights)

    def test_slightly_negative_weights(self):
        y = cloud(2, 400, 3, False)
        weights = np.random.default_rng(3).uniform(-0.05, 1, 400)
        check(DirectSums(9 * self.x, y, ALONE).sums(weights), 9 * self.x, y, weights)

    @pytest.mark.parametrize("kernel", [Exponential(), Logistic(), Indicator(1e-12)])
    def test_nothing(self, kernel):
        for y in (np.empty((0, 3)), self.x):
            sums = DirectSums(self.x, y, ALONE, kernel).sums(np.zeros(len(y)))
            assert not any(np.any(a) for a in sums)
        sums = DirectSums(self.x[:0], self.x, ALONE, kernel).sums(np.ones(5))
        assert [len(a) for a in sums] == [0, 0, 0]

    def test_all_at_the_origin(self):
        zeros = np.zeros((3000, 3))
        sums = DirectSums(zeros, zeros, ALONE).sums(np.ones(3000))
        np.testing.assert_allclose(sums.partition * np.exp(sums.log_scale), 3000, rtol=1e-14)


class TestLeavingOut:
    def both(self, monkeypatch, queries, points, weights, factors, kernel=None):
        backend = DirectSums(queries, points, ALONE, kernel or Exponential())
        pruned = backend.sums(weights, factors)
        monkeypatch.setattr(direct, "_NEGLIGIBLE", 1e6)
        whole = DirectSums(queries, points, ALONE, kernel or Exponential())
        return pruned, backend.met.mean() / len(points), whole.sums(weights, factors), whole

    @pytest.mark.parametrize(("beta", "met"), [(1.0, 1.01), (300.0, 0.35), (1e4, 0.13)])
    def test_on_the_sphere(self, monkeypatch, on_sphere, beta, met):
        x, y = on_sphere(1, 3000), on_sphere(2, 6000)
        weights = np.random.default_rng(3).random(6000)
        pruned, fraction, whole, _ = self.both(monkeypatch, beta * x, y, weights, None)
        assert fraction < met
        # Scales are powers of two, but their logarithms are rounded.
        bits = np.rint((pruned.log_scale - whole.log_scale) / np.log(2))
        ratio = pruned.partition / whole.partition * np.exp2(bits)
        np.testing.assert_allclose(ratio, 1, rtol=3e-15)
        means = [s.moment / s.partition[:, None] for s in (pruned, whole)]
        np.testing.assert_allclose(*means, atol=3e-15)
        few = slice(0, None, 100)
        backend = DirectSums(beta * x, y, ALONE)
        got = type(pruned)(*(a[few] for a in backend.sums(weights)))
        check(got, beta * x[few], y, weights, round_off=1e-14)

    def test_with_factors(self, monkeypatch, on_sphere):
        x, y = on_sphere(1, 3000), on_sphere(2, 6000)
        weights, factors = np.random.default_rng(3).random(6000), 2000 * np.sin(3 * y[:, 0])
        pruned, fraction, _, _ = self.both(monkeypatch, 500 * x, y, weights, factors)
        assert fraction < 0.5
        few = slice(0, None, 100)
        check(type(pruned)(*(a[few] for a in pruned)), 500 * x[few], y, weights, factors)

    @pytest.mark.parametrize("dimension", [1, 2, 5])
    def test_a_stretched_cloud(self, monkeypatch, dimension):
        stretch = 10.0 ** np.arange(dimension)
        x, y = (stretch * cloud(i, 3000, dimension, False) for i in (1, 2))
        weights = np.random.default_rng(3).random(3000)
        pruned, fraction, _, _ = self.both(monkeypatch, 30 * x, y, weights, None)
        assert fraction < 0.8
        few = slice(0, None, 100)
        check(type(pruned)(*(a[few] for a in pruned)), 30 * x[few], y, weights)

    def test_leaves_are_compact(self, on_sphere):
        points = on_sphere(1, 20_000)
        order = leaf_order(points, LEAF)
        assert np.array_equal(np.sort(order), np.arange(20_000))
        leaves = [points[order[i : i + LEAF]] for i in range(0, 20_000, LEAF)]
        area = 4 * np.pi / len(leaves)
        assert np.mean([np.ptp(leaf, axis=0).max() for leaf in leaves]) < 2 * np.sqrt(area)

    def test_saves_time(self, on_sphere):
        points, weights, seconds = on_sphere(1, 20_000), np.ones(20_000), []
        for beta in (1.0, 1000.0):
            backend = DirectSums(beta * points, points, ALONE)
            backend.sums(weights)
            start = time.process_time()
            backend.sums(weights)
            seconds.append(time.process_time() - start)
        assert seconds[1] < 0.5 * seconds[0]


@pytest.mark.mpi
@pytest.mark.parametrize("only", [None, 0])
@pytest.mark.parametrize(
    ("kernel", "beta"),
    [(Exponential(), 1.0), (Exponential(), 1000.0), (Logistic(1.0), 3.0), (Indicator(1e-12), 1.0)],
)
def test_ranks_agree(on_sphere, share, gather, kernel, beta, only):
    """With points spread over the ranks, or all on one; targets are spread."""
    x, y = on_sphere(1, 3001), on_sphere(2, 3002)
    rng = np.random.default_rng(3)
    weights, factors = rng.random(3002), rng.normal(size=3002)
    weights[::7] = 0
    if not isinstance(kernel, Exponential):
        factors = None
    alone = DirectSums(beta * x, y, ALONE, kernel).sums(weights, factors)
    mine = None if factors is None else share(factors, only)
    backend = DirectSums(beta * share(x), share(y, only), MPI.COMM_WORLD, kernel)
    for _ in range(2):
        sums = backend.sums(share(weights, only), mine)
    scale = np.exp(gather(sums.log_scale) - alone.log_scale)
    np.testing.assert_allclose(scale * gather(sums.partition), alone.partition, rtol=1e-12)
    together = scale[:, None] * gather(sums.moment)
    np.testing.assert_allclose(together, alone.moment, atol=1e-12 * alone.partition.max())
