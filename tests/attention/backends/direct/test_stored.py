"""The kernel stored for few pairs: the same sums as pair by pair, and who is served by it."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean, Sphere
from meanformer.attention.backends.direct.stored import StoredSums
from meanformer.attention.backends.direct.sums import DirectSums
from meanformer.attention.backends.kernels import Exponential, Logistic

ALONE = MPI.COMM_SELF
KERNELS = [Exponential(), Logistic(-1.5)]


def cloud(seed, targets=90, points=130, dimension=3):
    rng = np.random.default_rng(seed)
    queries, there = rng.normal(size=(targets, dimension)), rng.normal(size=(points, dimension))
    return 6 * queries, there, rng.normal(size=points) * 10.0 ** rng.integers(-9, 9, points)


def largest_difference(got, wanted, scale):
    """Of Z and of the moment, relative to the sums of absolute terms."""
    shift = np.exp(got.log_scale - wanted.log_scale)
    partition = np.abs(got.partition * shift - wanted.partition)
    moment = np.abs(got.moment * shift[:, None] - wanted.moment).max(axis=1)
    return np.max(np.maximum(partition, moment) / scale.partition)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dimension", [1, 2, 3, 9])
def test_sums_are_those_of_all_pairs(kernel, dimension):
    x, y, weights = cloud(1, dimension=dimension)
    wanted = DirectSums(x, y, ALONE, kernel)
    got = StoredSums(x, y, ALONE, kernel)
    scale = wanted.sums(np.abs(weights))
    scale = scale._replace(
        partition=scale.partition * np.exp(scale.log_scale - wanted.sums(weights).log_scale)
    )
    assert largest_difference(got.sums(weights), wanted.sums(weights), scale) < 1e-12
    log_scale, partition, _ = got.sums(weights, moment=False)
    whole = got.sums(weights)
    assert np.allclose(partition, whole.partition, rtol=1e-12, atol=1e-13 * np.abs(weights).max())
    assert np.array_equal(log_scale, whole.log_scale)


@pytest.mark.parametrize("size", [1e-300, 1e-3, 1e300])
@pytest.mark.parametrize("spread", [0.0, 30.0, 3000.0])
def test_weights_and_factors_of_any_size(size, spread):
    x, y, _ = cloud(2)
    weights, factors = np.full(len(y), size), spread * np.cos(np.arange(len(y)))
    wanted = DirectSums(x, y, ALONE).sums(weights, factors)
    got = StoredSums(x, y, ALONE, Exponential()).sums(weights, factors)
    log_z = np.log(got.partition) + got.log_scale
    wanted_log_z = np.log(wanted.partition) + wanted.log_scale
    assert np.abs(log_z - wanted_log_z).max() < 1e-13 * max(1.0, np.abs(wanted_log_z).max())
    means = (s.moment / s.partition[:, None] for s in (got, wanted))
    assert np.abs(np.subtract(*means)).max() < 1e-12


def test_points_of_any_size():
    y = np.array([[1e-230], [3e-230]])
    sums = StoredSums(y, y, ALONE, Exponential()).sums(np.full(2, 1e-99))
    assert np.allclose(sums.moment[:, 0] / sums.partition, 2e-230, rtol=1e-15, atol=0)


def test_nothing_has_no_sums():
    x, y, _ = cloud(3)
    sums = StoredSums(x, y, ALONE, Exponential()).sums(np.zeros(len(y)))
    assert not sums.partition.any() and not sums.moment.any()
    assert StoredSums(x[:0], y, ALONE, Exponential()).sums(np.ones(len(y))).moment.shape == (0, 3)


@pytest.mark.parametrize(
    ("attention", "count", "stored"),
    [
        (Attention(beta=4.0), 200, True),
        (Attention(beta=4.0), 300, False),
        (Attention(beta=101.0), 200, False),
        (Attention(law="sigmoid", beta=4.0), 200, True),
        (Attention(law="sigmoid", beta=4.0, offset=-99.0), 200, False),
        (Attention(law="hardmax", beta=4.0), 200, False),
    ],
)
def test_the_kernel_is_stored_for_few_pairs_of_moderate_logits(
    monkeypatch, on_sphere, attention, count, stored
):
    built = []
    monkeypatch.setattr(StoredSums, "__init__", lambda *arguments: built.append(arguments))
    x = on_sphere(4, count)
    attention.prepare(x, x, Sphere(3), backend="direct")
    assert bool(built) == stored


@pytest.mark.mpi
@pytest.mark.parametrize("only", [None, 0])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [1.0, 1e-200])
def test_ranks_make_no_difference(share, gather, kernel, only, size):
    x, y, weights = cloud(5)
    weights, factors = size * weights, None if isinstance(kernel, Logistic) else np.sin(weights)
    alone = StoredSums(x, y, ALONE, kernel).sums(weights, factors)
    backend = StoredSums(share(x), share(y, only), MPI.COMM_WORLD, kernel)
    mine = None if factors is None else share(factors, only)
    sums = backend.sums(share(weights, only), mine)
    scale = np.abs(alone.partition).max()
    for got, wanted in zip(sums, alone, strict=True):
        assert np.abs(gather(got) - wanted).max() < 1e-12 * max(scale, np.abs(wanted).max())


@pytest.mark.parametrize("law", ["softmax", "unnormalised", "l2", "sinkhorn", "sigmoid"])
def test_laws_agree_with_many_points(law):
    """The same measure, once by pairs that are stored, once with so many copies that none is."""
    rng = np.random.default_rng(6)
    points, weights = rng.normal(size=(120, 2)), rng.random(120)
    attention, where = Attention(law=law, beta=1.5), Euclidean(2)
    few = attention.prepare(points, points, where, 1e-10, backend="direct")(weights / weights.sum())
    copies = np.tile(points, (5, 1))
    many = attention.prepare(points, copies, where, 1e-10, backend="direct")(
        np.tile(weights, 5) / (5 * weights.sum())
    )
    assert np.abs(few.velocity - many.velocity).max() < 1e-9
