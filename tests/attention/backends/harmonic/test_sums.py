"""The harmonic backend against sums over all pairs in extended precision."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention.backends.harmonic.sums import HarmonicSums, harmonic_cost
from meanformer.attention.backends.kernels import Exponential, Logistic

ALONE = MPI.COMM_SELF
KERNELS = [(Exponential(), b) for b in (-1000.0, -10.0, 0.0, 1e-3, 1.0, 10.0, 100.0, 1000.0, 1e4)]
KERNELS += [(Logistic(c), b) for b in (-10.0, 0.0, 1.0, 10.0) for c in (-3.0, 0.0, 2.0)]
KERNELS += [(Logistic(0.0), 100.0), (Logistic(-100.0), 10.0)]
#: These take about a thousand degrees.
SHARP = [(Exponential(), 1e4), (Logistic(0.0), 100.0)]


class Exact:
    """Logarithmic scale, Z, M and sum_j |w_j| k, scaled alike."""

    def __init__(self, kernel, targets, points, weights, log_factors=0.0):
        x, y, w = (np.asarray(a, dtype=np.longdouble) for a in (targets, points, weights))
        # Vectors of length 1 + 1e-16 would move logits by 1e-16 beta.
        x, y = (a / np.sqrt((a**2).sum(axis=1))[:, None] for a in (x, y))
        function, slope = kernel
        u = slope * (x @ y.T)
        if isinstance(function, Logistic):
            u = -np.logaddexp(0, -(u + np.longdouble(function.offset)))
        u = np.where(w != 0, u + log_factors, -np.inf)
        self.log_scale = np.max(u, axis=1, initial=-1e4)
        terms = np.exp(u - self.log_scale[:, None])
        self.partition, self.moment = terms @ w, (terms * w) @ y
        self.size = terms @ np.abs(w)
        self.radial = (self.moment * x).sum(axis=1)[:, None] * x


def errors(sums, exact, tangential):
    """The largest errors of Z and of the moment, relative to sum_j |w_j| k."""
    scale = np.exp((sums.log_scale - exact.log_scale).astype(np.longdouble))
    wanted = exact.moment - exact.radial if tangential else exact.moment
    z = np.abs(sums.partition * scale - exact.partition) / exact.size
    moment = np.linalg.norm(sums.moment * scale[:, None] - wanted, axis=1) / exact.size
    return max(z.max(initial=0), moment.max(initial=0))


def measures(on_sphere, d):
    centre = np.array([0.6, 0.8, 0.0][:d])
    yield on_sphere(1, 300, d)
    yield on_sphere(2, 300, d, centre, 0.05)
    yield np.concatenate([on_sphere(3, 200, d, centre, 0.01), on_sphere(4, 100, d, -centre, 0.1)])


@pytest.mark.parametrize("tangential", [True, False])
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_accuracy(on_sphere, kernel, d, tangential):
    if d == 3 and kernel in SHARP:
        pytest.skip("takes seconds; the next test has it")
    for points in measures(on_sphere, d):
        weights = np.random.default_rng(5).dirichlet(np.ones(len(points)))
        targets = np.concatenate([on_sphere(6, 40, d), points[:20], -points[:5]])
        exact = Exact(kernel, targets, points, weights)
        for tolerance in (1e-4, 1e-8, 1e-11):
            backend = HarmonicSums(targets, points, *kernel, tolerance, ALONE, tangential)
            sums = backend.sums(weights)
            assert errors(sums, exact, tangential) < tolerance
            log_scale, partition, _ = backend.sums(weights, moment=False)
            assert np.array_equal(log_scale, sums.log_scale)
            assert np.abs(partition / sums.partition - 1).max() < tolerance


@pytest.mark.parametrize("kernel", SHARP, ids=str)
def test_a_sharp_kernel_on_the_sphere(on_sphere, kernel):
    points = on_sphere(7, 500, 3, [0.0, 0.0, 1.0], 0.02)
    weights = np.full(500, 1 / 500)
    exact = Exact(kernel, points, points, weights)
    sums = HarmonicSums(points, points, *kernel, 1e-10, ALONE, True).sums(weights)
    assert errors(sums, exact, True) < 1e-10


def degenerate(d):
    x, pole = np.eye(d)[:1], np.eye(d)[-1:]
    generic = np.array([[0.36, 0.48, 0.8]])[:, 3 - d :]
    generic = generic / np.linalg.norm(generic)
    yield "one point", generic, np.ones(1)
    yield "antipodal", np.concatenate([generic, -generic]), np.array([1.0, 0.5])
    yield "repeated", np.tile(generic, (50, 1)), np.full(50, 0.02)
    yield "axes", np.concatenate([np.eye(d), -np.eye(d)]), np.ones(2 * d)
    yield "pole", pole, np.ones(1)
    yield "negative zeros", np.where(pole == 0, -0.0, -pole), np.ones(1)
    nearly = pole + 1e-320 * x
    yield "nearly a pole", np.concatenate([nearly, -nearly]), np.ones(2)
    yield "all on one", np.concatenate([generic, pole, x]), np.array([1.0, 0.0, 0.0])
    yield "signed", np.concatenate([generic, pole, x]), np.array([1.0, -1.0, 1e-9])


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize(
    "kernel", [(Exponential(), -10.0), (Exponential(), 100.0), (Logistic(-1.0), 5.0)]
)
def test_degenerate_measures(on_sphere, kernel, d):
    for name, points, weights in degenerate(d):
        targets = np.concatenate([points, -points, np.eye(d), -np.eye(d), on_sphere(8, 10, d)])
        exact = Exact(kernel, targets, points, weights)
        for tangential in (True, False):
            sums = HarmonicSums(targets, points, *kernel, 1e-10, ALONE, tangential).sums(weights)
            assert errors(sums, exact, tangential) < 1e-10, name


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("kernel", [(Exponential(), 10.0), (Logistic(-1.0), 5.0)])
def test_no_weight_at_all(on_sphere, kernel, d):
    points = on_sphere(9, 20, d)
    for y in (points, points[:0]):
        sums = HarmonicSums(points, y, *kernel, 1e-8, ALONE, False).sums(np.zeros(len(y)))
        assert not sums.partition.any() and not sums.moment.any()
        assert np.all(np.isfinite(sums.log_scale))
    assert HarmonicSums(points[:0], points, *kernel, 1e-8, ALONE, True).sums(
        np.ones(20)
    ).moment.shape == (0, d)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("shift", [0.0, 1e3, -1e3])
def test_log_factors_of_any_size(on_sphere, d, shift):
    points, targets, kernel = on_sphere(10, 200, d), on_sphere(11, 100, d), (Exponential(), 20.0)
    generator = np.random.default_rng(12)
    weights = generator.normal(size=200) ** 2
    weights[:5] = 0
    factors = shift + generator.uniform(-30, 30, 200)
    factors[0] = shift + 500  # of no weight
    exact = Exact(kernel, targets, points, weights, factors)
    backend = HarmonicSums(targets, points, *kernel, 1e-9, ALONE, False)
    assert errors(backend.sums(weights, factors), exact, False) < 1e-9
    log_scale, partition, _ = backend.sums(weights, factors, moment=False)
    ratio = np.exp(log_scale - exact.log_scale) * partition / exact.partition
    assert np.abs(ratio - 1).max() < 1e-9


@pytest.mark.parametrize("d", [2, 3])
def test_a_uniform_measure_needs_no_direct_sum(on_sphere, d, monkeypatch):
    monkeypatch.setattr(HarmonicSums, "_direct", lambda *_: pytest.fail("summed directly"))
    points, weights = on_sphere(13, 20_000, d), np.full(20_000, 1 / 20_000)
    for beta, tolerance in ((100.0, 1e-11), (1000.0, 1e-10)):
        HarmonicSums(points, points, Exponential(), beta, tolerance, ALONE, True).sums(weights)


@pytest.mark.parametrize("d", [2, 3])
def test_a_collapsed_cluster(d):
    # 100 000 equal terms: their rounding errors must not add up to what the tolerance sees.
    point = np.array([[0.36, 0.48, 0.8]])[:, :d]
    point /= np.linalg.norm(point)
    points, weights = np.tile(point, (100_000, 1)), np.full(100_000, 1e-5)
    targets = np.concatenate([point, -point, np.eye(d)])
    exact, kernel = Exact((Exponential(), 5.0), targets, point, np.ones(1)), (Exponential(), 5.0)
    sums = HarmonicSums(targets, points, *kernel, 1e-9, ALONE, False).sums(weights)
    assert errors(sums, exact, False) < 1e-9


def test_cost_grows_with_everything():
    for d in (2, 3):
        base = harmonic_cost(50, 1000, 1000, d, True)
        assert 0 < base < harmonic_cost(50, 1000, 1000, d, False)
        assert base < harmonic_cost(500, 1000, 1000, d, True)
        assert base < harmonic_cost(50, 9000, 1000, d, True)
        assert base < harmonic_cost(50, 1000, 9000, d, True)


def test_a_kernel_of_too_many_harmonics(on_sphere):
    points = on_sphere(14, 5)
    with pytest.raises(ValueError, match="too many harmonics"):
        HarmonicSums(points, points, Logistic(0.0), 1e5, 1e-8, ALONE, True)


@pytest.mark.mpi
@pytest.mark.parametrize("only", [None, 0])
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize(
    "kernel", [(Exponential(), 4.0), (Exponential(), 300.0), (Logistic(0.0), 10.0)]
)
def test_ranks_agree_with_one(on_sphere, share, gather, kernel, d, only):
    points, targets = on_sphere(15, 600, d, np.eye(d)[0], 0.3), on_sphere(16, 50, d)
    generator = np.random.default_rng(17)
    weights, factors = generator.random(600), generator.uniform(-3, 3, 600)
    given = (weights, factors) if isinstance(kernel[0], Exponential) else (weights,)
    wanted = HarmonicSums(targets, points, *kernel, 1e-8, ALONE, False).sums(*given)
    backend = HarmonicSums(
        share(targets), share(points, only), *kernel, 1e-8, MPI.COMM_WORLD, False
    )
    got = backend.sums(*(share(a, only) for a in given))
    scale = np.exp(gather(got.log_scale) - wanted.log_scale)
    size = np.abs(wanted.partition)
    assert np.max(np.abs(gather(got.partition) * scale - wanted.partition) / size) < 1e-8
    near = wanted.partition > 1e-3 * weights.sum()
    assert np.abs(gather(got.partition) * scale - wanted.partition)[near].max() < 1e-12 * 600
    difference = gather(got.moment) * scale[:, None] - wanted.moment
    assert np.max(np.linalg.norm(difference, axis=1) / size) < 1e-8


class TwinRanks:
    """A communicator of two ranks that hold the same, which weighs what it is given to send."""

    rank, size = 0, 2

    def __init__(self):
        self.sent = []

    def allreduce(self, number, op=MPI.SUM):
        self.sent.append(8)
        return 2 * number if op == MPI.SUM else number

    def Allreduce(self, in_place, array):
        assert in_place is MPI.IN_PLACE
        self.sent.append(array.nbytes)
        array *= 2


@pytest.mark.parametrize("d", [2, 3])
def test_ten_times_the_points_send_the_same_bytes(on_sphere, d):
    sent = []
    for count in (1_000, 10_000):
        twins, points, weights = TwinRanks(), on_sphere(18, count, d), np.full(count, 1 / count)
        kernel = (Exponential(), 10.0)
        got = HarmonicSums(points, points, *kernel, 1e-8, twins, True).sums(weights / 2)
        wanted = HarmonicSums(points, points, *kernel, 1e-8, ALONE, True).sums(weights)
        assert np.abs(got.partition / wanted.partition - 1).max() < 1e-12
        assert np.abs(got.moment - wanted.moment).max() < 1e-14
        sent.append(twins.sent)
    assert sent[0] == sent[1] and len(sent[0]) == 3
