"""Sums over all pairs by matrix products, against their definition in extended precision."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention.backends.direct.blocked import BlockedSums
from meanformer.attention.backends.direct.sums import DirectSums
from meanformer.attention.backends.kernels import Exponential, Indicator, Logistic

ALONE = MPI.COMM_SELF
BETAS = [-10.0, 0.0, 1e-3, 1.0, 10.0, 100.0, 1000.0]


def cloud(seed, count, dimension, clustered=False):
    """Points of length about one."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, dimension)) / np.sqrt(dimension)
    return x[rng.integers(0, 3, count)] + 1e-3 * x if clustered else x


def check(got, queries, keys, values, weights, factors=0.0, round_off=1e-14):
    """log Z and the mean, to round-off of the logits."""
    x, y, v, w = (np.asarray(a, np.longdouble) for a in (queries, keys, values, weights))
    logits = np.where(weights != 0, x @ y.T + np.asarray(factors, np.longdouble), -np.inf)
    top = logits.max(axis=1)
    terms = w * np.exp(logits - top[:, None])
    total = terms.sum(axis=1)
    largest = np.abs(logits[:, weights != 0]).max(axis=1)
    bound = round_off * (10 + largest) * np.abs(terms).sum(axis=1) / np.abs(total)
    ratio = got.partition / total * np.exp(got.log_scale - top)
    assert np.all(np.abs(ratio - 1) < bound)
    mean = terms @ v / total[:, None]
    error = np.abs(got.moment / got.partition[:, None] - mean)
    assert np.all(error <= bound[:, None] * np.abs(values).max())


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("dimension", [20, 64])
def test_the_exponential(dimension, beta, clustered):
    x, y = cloud(1, 70, dimension, clustered), cloud(2, 600, dimension, clustered)
    weights = np.random.default_rng(3).dirichlet(np.ones(600))
    backend = BlockedSums(beta * x, y, y, ALONE)
    check(backend.sums(weights), beta * x, y, y, weights, round_off=1e-14)
    log_scale, partition, _ = backend.sums(weights, moment=False)
    both = backend.sums(weights)
    assert np.array_equal(log_scale, both.log_scale)
    assert np.array_equal(partition, both.partition)


def test_keys_and_values_of_different_dimensions():
    x, y, v = cloud(1, 400, 20), cloud(2, 1500, 20), cloud(3, 1500, 64)
    weights, factors = np.random.default_rng(4).random((2, 1500))
    factors = 8000 * (factors - 0.5)
    sums = BlockedSums(x, y, v, ALONE).sums(weights, factors)
    assert sums.moment.shape == (400, 64)
    check(sums, x, y, v, weights, factors)


@pytest.mark.parametrize("kernel", [Exponential(), Logistic(-1.5), Indicator(0.01)])
@pytest.mark.parametrize("dimension", [3, 20])
def test_agrees_with_the_direct_sums(kernel, dimension):
    x, y = 5 * cloud(1, 700, dimension), cloud(2, 1100, dimension)
    weights = np.random.default_rng(3).normal(size=1100) + 2
    weights[::5] = 0
    sums = BlockedSums(x, y, y, ALONE, kernel).sums(weights)
    wanted = DirectSums(x, y, ALONE, kernel).sums(weights)
    scale = np.exp(sums.log_scale - wanted.log_scale)
    np.testing.assert_allclose(scale * sums.partition, wanted.partition, rtol=1e-12)
    largest = np.abs(wanted.partition).max()
    np.testing.assert_allclose(scale[:, None] * sums.moment, wanted.moment, atol=1e-12 * largest)


class TestDegenerate:
    x = cloud(1, 5, 20)

    @pytest.mark.parametrize("count", [1, 900])
    def test_one_point_repeated(self, count):
        y, weights = np.tile(cloud(2, 1, 20), (count, 1)), np.full(count, 1 / count)
        check(BlockedSums(700 * self.x, y, y, ALONE).sums(weights), 700 * self.x, y, y, weights)

    def test_points_without_weight_do_not_set_the_maximum(self):
        y, weights = np.vstack([self.x, -self.x, 0.01 * self.x]), np.repeat([0.0, 0.0, 1.0], 5)
        check(BlockedSums(1e5 * self.x, y, y, ALONE).sums(weights), 1e5 * self.x, y, y, weights)

    def test_all_weight_on_one_point(self):
        y, weights = cloud(2, 2000, 20), np.zeros(2000)
        weights[1234] = 0.5
        check(BlockedSums(1e4 * self.x, y, y, ALONE).sums(weights), 1e4 * self.x, y, y, weights)

    def test_slightly_negative_weights(self):
        y, weights = cloud(2, 400, 20), np.random.default_rng(3).uniform(-0.05, 1, 400)
        check(BlockedSums(9 * self.x, y, y, ALONE).sums(weights), 9 * self.x, y, y, weights)

    @pytest.mark.parametrize("kernel", [Exponential(), Logistic(), Indicator(1e-12)])
    def test_nothing(self, kernel):
        for y in (np.empty((0, 20)), self.x):
            sums = BlockedSums(self.x, y, y, ALONE, kernel).sums(np.zeros(len(y)))
            assert not any(np.any(a) for a in sums)
        sums = BlockedSums(self.x[:0], self.x, self.x, ALONE, kernel).sums(np.ones(5))
        assert [len(a) for a in sums] == [0, 0, 0]


@pytest.mark.mpi
@pytest.mark.parametrize("only", [None, 0])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("kernel", "beta"),
    [(Exponential(), 1.0), (Exponential(), 1000.0), (Logistic(1.0), 3.0), (Indicator(1e-12), 1.0)],
)
def test_ranks_agree(share, gather, kernel, beta, apart, only):
    """With points spread over the ranks, or all on one; targets are spread."""
    x, y = beta * cloud(1, 301, 20), cloud(2, 1302, 20)
    v = cloud(3, 1302, 7) if apart else y
    weights = np.random.default_rng(3).random(1302)
    weights[::7] = 0
    alone = BlockedSums(x, y, v, ALONE, kernel).sums(weights)
    keys = share(y, only)
    values = share(v, only) if apart else keys
    sums = BlockedSums(share(x), keys, values, MPI.COMM_WORLD, kernel).sums(share(weights, only))
    scale = np.exp(gather(sums.log_scale) - alone.log_scale)
    np.testing.assert_allclose(scale * gather(sums.partition), alone.partition, rtol=1e-12)
    together = scale[:, None] * gather(sums.moment)
    np.testing.assert_allclose(together, alone.moment, atol=1e-12 * alone.partition.max())
