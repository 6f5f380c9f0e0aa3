"""Many small systems in one call: the sums of each are those of its kernel at its own points."""

import numpy as np
import pytest

from meanformer.attention.backends.direct.systems import SystemSums
from meanformer.attention.backends.kernels import (
    Exponential,
    Features,
    Indicator,
    Logistic,
    Logit,
)
from meanformer.attention.laws.feature_map import log_features

KERNELS = [Exponential(), Logistic(-1.5), Indicator(0.05), Logit(), Features(log_features)]
SHAPES = [
    (1, 7, 7, 3),
    (5, 1, 1, 2),
    (40, 2, 2, 3),
    (6, 33, 50, 8),
    (3, 64, 64, 33),
    (2, 90, 1000, 8),
]


def systems_of(kernel, shape, seed=1):
    systems, targets, points, dimension = shape
    rng = np.random.default_rng(seed)
    queries = 4 * rng.normal(size=(systems, targets, dimension))
    keys = rng.normal(size=(systems, points, dimension))
    values = rng.normal(size=(systems, points, dimension))
    if kernel.log_features is not None:
        queries, keys = (kernel.log_features(rows) for rows in (queries, keys))
    return queries, keys, values, rng.normal(size=(systems, points))


def rows(*arrays):
    return [array.reshape(-1, *array.shape[2:]) for array in arrays]


def oracle(kernel, queries, keys, values, weights, seen=None, factors=None):
    """Z and the moment of every target, system by system, with the scale left in."""
    for s in range(len(queries)):
        for i in range(queries.shape[1]):
            past = slice(None if seen is None else seen[i])
            some = None if factors is None else factors[s, past]
            terms, scale = kernel.dense(queries[s, i : i + 1], keys[s, past], some)
            terms = np.exp(scale) * weights[s, past] * terms[0]
            yield terms.sum(), terms @ values[s, past], np.abs(terms).sum()


def assert_equal(sums, wanted, tolerance=1e-12):
    for row, (partition, moment, size) in enumerate(wanted):
        scale = np.exp(sums.log_scale[row])
        assert abs(scale * sums.partition[row] - partition) <= tolerance * size
        if sums.moment.shape[1]:
            largest = np.abs(scale * sums.moment[row] - moment).max()
            assert largest <= 10 * tolerance * size


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("past", [False, True])
def test_sums_are_those_within_each_system(kernel, shape, past):
    queries, keys, values, weights = systems_of(kernel, shape)
    systems, targets, points, _ = shape
    seen = points - targets + 1 + np.arange(targets) if past else None
    prepared = SystemSums(*rows(queries, keys, values), kernel, systems, seen)
    wanted = list(oracle(kernel, queries, keys, values, weights, seen))
    assert_equal(prepared.sums(weights.ravel()), wanted)
    assert_equal(prepared.sums(weights.ravel(), moment=False), wanted)


def test_factors_of_any_size():
    kernel = Exponential()
    queries, keys, values, weights = systems_of(kernel, (4, 9, 9, 3))
    factors = 3000 * np.cos(np.arange(36.0)).reshape(4, 9)
    prepared = SystemSums(*rows(queries, keys, values), kernel, 4)
    got = prepared.sums(np.abs(weights).ravel() * 1e200, factors.ravel())
    logs = np.log(got.partition) + got.log_scale
    for s in range(4):
        logits = queries[s] @ keys[s].T + factors[s] + np.log(np.abs(weights[s])) + 200 * np.log(10)
        wanted = np.logaddexp.reduce(logits, axis=1)
        assert np.abs(logs[9 * s : 9 * s + 9] - wanted).max() < 1e-12 * 3000


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_a_target_that_sees_nothing_has_sums_of_zero(kernel):
    queries, keys, values, weights = systems_of(kernel, (3, 4, 4, 2))
    prepared = SystemSums(*rows(queries, keys, values), kernel, 3, np.arange(4))
    sums = prepared.sums(weights.ravel())
    assert not sums.partition[::4].any() and not sums.moment[::4].any()
    assert np.isfinite(sums.log_scale).all() and sums.partition[1::4].all()


def test_of_no_system_there_is_nothing():
    nothing = np.empty((0, 3))
    sums = SystemSums(nothing, nothing, nothing, Exponential(), 0).sums(np.empty(0))
    assert sums.partition.shape == (0,) and sums.moment.shape[0] == 0


def test_threads_change_nothing(monkeypatch):
    queries, keys, values, weights = systems_of(Exponential(), (100, 64, 64, 3))
    prepared = SystemSums(*rows(queries, keys, values), Exponential(), 100)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = prepared.sums(weights.ravel())
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    several = prepared.sums(weights.ravel())
    assert all(np.array_equal(a, b) for a, b in zip(one, several, strict=True))
