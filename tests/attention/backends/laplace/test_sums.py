"""The Laplace backend against sums in extended precision, from their definition."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention.backends.laplace.boxes import Rectangle
from meanformer.attention.backends.laplace.chebyshev import Boxed
from meanformer.attention.backends.laplace.grid import Grid, interpolation_error
from meanformer.attention.backends.laplace.sums import LaplaceSums
from meanformer.attention.backends.laplace.transform import (
    factors,
    nodes,
    series_from_values,
    transform_matrix,
)

ALONE = MPI.COMM_SELF
TOLERANCES = [1e-4, 1e-8, 1e-11]


def prepare(queries, points, tolerance, comm=ALONE):
    return LaplaceSums(queries, points, Grid.fit(queries, points, tolerance, comm), comm)


def reference(queries, points, weights, log_factors=None):
    """log of the largest term, and the sums over it, from the definition."""
    xi, y, w = (np.asarray(a, np.longdouble) for a in (queries, points, weights))
    logs = xi @ y.T
    if log_factors is not None:
        logs = logs + np.asarray(log_factors, np.longdouble)
    xi, y, w, logs = xi, y[w != 0], w[w != 0], logs[:, w != 0]
    top = logs.max(axis=1)
    terms = w * np.exp(logs - top[:, None])
    return top, terms.sum(axis=1), terms @ y


def errors(queries, points, weights, tolerance, log_factors=None):
    """Largest error of Z, relative to Z, and of the moments, relative to Z max |y - centre|."""
    with np.errstate(all="raise", under="ignore"):
        sums = prepare(queries, points, tolerance).sums(weights, log_factors)
    assert all(np.isfinite(a).all() for a in sums)
    top, partition, moment = reference(queries, points, weights, log_factors)
    factor = np.exp(sums.log_scale - top)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = max(np.linalg.norm(points - centre, axis=1).max(), 1e-90)
    of_partition = np.abs(sums.partition * factor / partition - 1)
    # Where all points are one, its own digits are what a moment can have.
    floor = 1e-14 * np.linalg.norm(centre) * partition
    of_moment = np.linalg.norm(sums.moment * factor[:, None] - moment, axis=1) - floor
    return float(of_partition.max()), float((of_moment / partition).max() / radius)


def some(seed, count, d):
    return np.random.default_rng(seed).uniform(-1, 1, (count, d))


def matrix(seed, d, norm):
    a = np.random.default_rng(seed).normal(size=(d, d))
    return a * norm / np.linalg.norm(a, 2)


def clustered(seed, count, d):
    rng = np.random.default_rng(seed)
    centres = rng.choice([-1.0, -0.4, 0.9], size=(count, d))
    return centres + 10.0 ** -rng.integers(1, 6, (count, 1)) * rng.normal(size=(count, d))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("norm", [0.0, 1e-3, 1.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("measure", [some, clustered])
def test_relative_accuracy(d, norm, tolerance, measure):
    points, targets = measure(d, 60, d), some(d + 5, 50, d)
    weights = np.random.default_rng(0).uniform(size=60)
    queries = targets @ matrix(d, d, norm).T
    assert max(errors(queries, points, weights, tolerance)) < tolerance


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize(("d", "norm"), [(1, 5.0), (1, 400.0), (2, 6.0), (3, 4.0)])
def test_accuracy_at_the_worst_points(d, norm, tolerance):
    """One point, or points, in corners of boxes; queries in corners of theirs."""
    rng = np.random.default_rng(d)
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * d), axis=-1).reshape(-1, d)
    grid = Grid.fit(norm * corners, corners, tolerance, ALONE)
    edges = np.linspace(-1, 1, grid.boxes[0] + 1)
    assert len(set(grid.boxes)) == 1
    queries = norm * np.concatenate([corners, rng.choice(edges, (100, d)), some(1, 50, d)])
    for _ in range(6):
        corner = rng.choice(edges, (1, d))
        near = np.clip(corner + rng.uniform(-1e-2, 1e-2, (50, d)), -1, 1)
        light = np.array([1.0] * (len(corners) - 1) + [1e-9])
        for points, weights in (
            (corner, np.ones(1)),
            (near, rng.uniform(size=50)),
            (rng.choice(edges, (50, d)), 10.0 ** -rng.uniform(0, 300, 50)),
            (rng.permutation(corners), light),
        ):
            # The same boxes for all: far points of no weight that matters.
            points = np.concatenate([points, corners])
            weights = np.concatenate([weights, np.zeros(len(corners))])
            assert max(errors(queries, points, weights, tolerance)) < tolerance


@pytest.mark.parametrize("norm", [3.0, 200.0])
@pytest.mark.parametrize("d", [1, 2])
def test_log_factors_over_thousands_of_nats(d, norm):
    points, queries = some(1, 80, d), norm * some(2, 40, d)
    log_factors = np.random.default_rng(3).uniform(-4000, 4000, 80)
    weights = 10.0 ** np.random.default_rng(4).uniform(-300, 0, 80)
    for scaled in (log_factors, log_factors / 100, log_factors + 5000):
        assert max(errors(queries, points, weights, 1e-8, scaled)) < 1e-8
    ones = np.ones(80)
    plain = prepare(queries, points, 1e-10).sums(ones, moment=False)
    zeros = prepare(queries, points, 1e-10).sums(ones, np.zeros(80), moment=False)
    np.testing.assert_array_equal(plain[:2], zeros[:2])


@pytest.mark.parametrize("exponent", [1e3, 1e4, 1e5, 1e6])
def test_huge_exponents_on_a_line(exponent):
    points, queries = some(1, 1000, 1), exponent * some(2, 30, 1)
    assert max(errors(queries, points, np.ones(1000), 1e-9)) < 1e-9


def test_huge_exponents_in_the_plane_in_one_direction():
    points, queries = some(1, 300, 2), some(2, 40, 2) * [600.0, 3.0]
    assert max(errors(queries, points, np.ones(300), 1e-9)) < 1e-9
    assert max(errors(queries[:, ::-1], points, np.ones(300), 1e-9)) < 1e-9
    points, queries = some(1, 30, 3), some(2, 40, 3) * [1.0, 2.0, 400.0]
    for order in ([0, 1, 2], [2, 0, 1]):
        assert max(errors(queries[:, order], points, np.ones(30), 1e-6)) < 1e-6


class TestKeptBoxes:
    """Where a full grid would be too large, boxes that hold something are taken in pairs."""

    def grid(self, queries, points, tolerance):
        grid = Grid.fit(queries, points, tolerance, ALONE)
        assert grid.kept is not None
        return grid

    @pytest.mark.parametrize("tolerance", TOLERANCES)
    @pytest.mark.parametrize(("d", "norm"), [(1, 2e6), (2, 3000.0), (3, 40.0), (3, 1000.0)])
    def test_at_the_worst_points(self, d, norm, tolerance):
        """Points in corners of their boxes, queries in corners of theirs."""
        rng = np.random.default_rng(d)
        corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * d), axis=-1).reshape(-1, d)
        boxes = self.grid(norm * corners, corners, tolerance).boxes
        assert len(set(boxes)) == 1
        edges = np.linspace(-1, 1, boxes[0] + 1)
        queries = norm * np.concatenate([corners, rng.choice(edges, (40, d)), some(1, 20, d)])
        points = np.concatenate([corners, rng.choice(edges, (40, d)), some(2, 20, d)])
        weights = 10.0 ** -rng.uniform(0, 300, len(points))
        # Logits themselves carry round-off.
        tolerance = max(tolerance, 4e-16 * d * norm)
        for these in (weights, np.ones(len(points))):
            assert max(errors(queries, points, these, tolerance)) < tolerance

    def test_log_factors_and_weights_of_nothing(self):
        points, queries = some(1, 60, 3), 500 * some(2, 40, 3)
        weights = np.where(np.arange(60) % 5 == 0, 1.0, 0.0)
        log_factors = np.where(weights > 0, np.linspace(-900, 900, 60), 5000.0)
        assert self.grid(queries, points, 1e-9).degree
        assert max(errors(queries, points, weights, 1e-9, log_factors)) < 1e-9
        assert not prepare(queries, points, 1e-9).sums(np.zeros(60)).partition.any()

    def test_kept_boxes_are_those_that_hold_something(self):
        points, queries = some(1, 30, 3), 500 * some(2, 40, 3)
        kept = self.grid(queries, points, 1e-9).kept
        assert (len(kept.queries), len(kept.points)) == (40, 30)
        assert 1 / 30 <= kept.near_boxes == kept.near_points < 0.5
        together = self.grid(queries, np.concatenate([points] * 2), 1e-9).kept
        assert (len(together.queries), len(together.points)) == (40, 30)

    def test_clusters_take_less_than_all_pairs(self):
        """Many points in few boxes: the cost is linear in the points."""
        centres = some(1, 20, 2)
        few, many = (
            (centres[:, None] + 1e-3 * some(2, count, 2)).reshape(-1, 2) for count in (50, 5000)
        )
        seconds = [
            self.grid(2000 * points, points, 1e-9).seconds(len(points), len(points))
            for points in (few, many)
        ]
        assert seconds[1] < 100 * seconds[0]
        assert max(errors(2000 * many[::100], few, np.ones(len(few)), 1e-9)) < 1e-9

    def test_far_clusters_do_not_matter_to_each_other(self):
        few, many = [0.9, 0.8] + 1e-5 * some(1, 10, 2), [-0.9, -0.7] + 1e-5 * some(2, 90, 2)
        points = np.concatenate([few, many])
        kept = self.grid(1e5 * points, points, 1e-9).kept
        assert 0.3 < kept.near_points < 0.9
        # Known factors of the weights move what counts: now the few.
        tilt = np.where(points[:, 0] > 0, 1e6, 0.0)
        tilted = Grid.fit(1e5 * points, points, 1e-9, ALONE, tilt).kept
        assert tilted.near_points <= 0.1

    def test_more_boxes_than_numbers_are_refused(self):
        points = np.linspace(-1, 1, 50)[:, None]
        assert Grid.fit(1e16 * points, points, 1e-9, ALONE).seconds(1, 1) == np.inf

    def test_too_many_are_refused(self):
        points = some(1, 60_000, 3)
        grid = Grid.fit(400 * points, points, 1e-11, ALONE)
        assert grid.seconds(1, 1) == np.inf
        with pytest.raises(ValueError, match="nodes"):
            LaplaceSums(400 * points, points, grid, ALONE)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_far_from_the_origin(d, shift):
    points, queries = some(1, 50, d) + shift, 4 * (some(2, 40, d) - 5 * shift)
    assert max(errors(queries, points, np.ones(50), 1e-10)) < 1e-10


class TestDegenerate:
    @pytest.mark.parametrize("d", [1, 2, 3])
    @pytest.mark.parametrize("points", [1, 7])
    @pytest.mark.parametrize("at", [0.0, 0.3])
    def test_one_place(self, d, points, at):
        y = np.full((points, d), at)
        assert max(errors(9 * some(1, 30, d), y, np.ones(points), 1e-9)) < 1e-9

    @pytest.mark.parametrize("d", [1, 2, 3])
    def test_all_queries_equal(self, d):
        queries = np.tile(some(1, 1, d), (20, 1))
        assert max(errors(queries, some(2, 30, d), np.ones(30), 1e-9)) < 1e-9
        assert max(errors(queries, queries, np.ones(20), 1e-9)) < 1e-9

    @pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 1e-13)])
    def test_points_on_a_line_in_the_plane(self, direction):
        points = some(1, 40, 1) * np.array(direction)
        for queries in (8 * some(2, 30, 2), 8 * points, 8 * points[:, ::-1]):
            assert max(errors(queries, points, np.ones(40), 1e-9)) < 1e-9

    @pytest.mark.parametrize("d", [1, 2])
    def test_points_on_the_edges_of_boxes(self, d):
        ends = np.array([[-1.0] * d, [1.0] * d])
        (boxes, *_) = Grid.fit(10 * ends, ends, 1e-9, ALONE).boxes
        assert boxes > 2
        line = np.linspace(-1, 1, boxes + 1)
        points = np.stack(np.meshgrid(*[line] * d), axis=-1).reshape(-1, d)
        assert max(errors(10 * points, points, np.ones(len(points)), 1e-9)) < 1e-9

    @pytest.mark.parametrize("norm", [5.0, 300.0])
    def test_what_weighs_nothing_sets_no_scale(self, norm):
        points, queries = some(1, 50, 2), norm * some(2, 40, 2) * [1.0, 0.01]
        weights = np.where(np.arange(50) % 5 == 0, 1.0, 0.0)
        log_factors = np.where(weights > 0, 0.0, 5000.0)
        assert max(errors(queries, points, weights, 1e-9, log_factors)) < 1e-9
        weights[1:] = 0
        assert max(errors(queries, points, weights, 1e-9, log_factors)) < 1e-9

    def test_nothing_at_all(self):
        points, queries = some(1, 50, 2), 5 * some(2, 40, 2)
        for sums in (
            prepare(queries, points, 1e-9).sums(np.zeros(50)),
            prepare(100 * queries, points, 1e-4).sums(np.zeros(50)),
            prepare(queries, points[:0], 1e-9).sums(np.zeros(0)),
        ):
            assert np.isfinite(sums.log_scale).all()
            assert not sums.partition.any()
            assert not sums.moment.any()
        assert prepare(queries[:0], points, 1e-9).sums(np.ones(50)).moment.shape == (0, 2)

    def test_slightly_negative_weights(self):
        points, queries = some(1, 200, 2), 5 * some(2, 40, 2)
        weights = np.random.default_rng(3).uniform(-0.05, 1, 200)
        assert max(errors(queries, points, weights, 1e-9)) < 1e-9
        got = prepare(queries, points, 1e-9)
        for minus, plus in zip(got.sums(-weights)[1:], got.sums(weights)[1:], strict=True):
            np.testing.assert_array_equal(minus, -plus)


class TestGrid:
    def test_the_error_of_interpolation_bounds_the_error(self):
        t = np.linspace(-1, 1, 500)
        for p in (4, 8, 12):
            for z in (0.05, 0.5, 2.0):
                series = series_from_values(p) @ np.exp(z * nodes(p))
                fit = np.polynomial.Chebyshev(series)
                wanted = np.exp(z * t)
                error = np.abs(fit(t) / wanted - 1).max()
                slope = np.abs(fit.deriv()(t) / wanted / z - 1).max()
                bound = interpolation_error(z, p)
                assert max(error, slope) < bound + 1e-12 / z

    def test_a_matrix_maps_a_point_to_its_exponential(self):
        f = factors(30.0, 1.0, 10, 20)
        point = np.array([[0.317]])
        narrow, wide = (Rectangle(np.zeros(1), np.full(1, half)) for half in (1.0, 30.0))
        moments = Boxed.sort(point, narrow, (10,), 20).moments(np.ones(1)).ravel()
        queries = np.linspace(-30, 30, 50)[:, None]
        series = (transform_matrix(f) @ moments).reshape(1, 1, 1, 1, 10, 20)
        got = Boxed.sort(queries, wide, (10,), 20).evaluate(series, slopes=False)[0]
        np.testing.assert_allclose(got, np.exp(0.317 * queries[:, 0]), rtol=1e-12)

    def test_cost_grows_with_points_and_exponents(self):
        def seconds(count, norm):
            grid = Grid.fit(norm * some(1, 100, 2), some(2, 100, 2), 1e-9, ALONE)
            return grid.seconds(count, count)

        assert 5 < seconds(1_000_000, 10.0) / seconds(100_000, 10.0) <= 10
        assert seconds(1000, 50.0) > 5 * seconds(1000, 10.0)
        assert seconds(1000, 1e4) < np.inf
        assert seconds(1000, 1e200) == np.inf

    def test_many_points_on_threads(self):
        """Boxes that many chunks share, and boxes many of which are in one chunk."""
        points = np.concatenate([some(1, 4000, 2), 1e-3 * some(2, 4000, 2)])
        queries = 30 * points[::-1]
        some_queries = queries[::200]
        weights = np.random.default_rng(0).uniform(size=8000)
        sums = prepare(queries, points, 1e-10).sums(weights)
        top, partition, moment = reference(some_queries, points, weights)
        factor = np.exp(sums.log_scale[::200] - top)
        assert np.abs(sums.partition[::200] * factor / partition - 1).max() < 1e-10
        error = np.abs(sums.moment[::200] * factor[:, None] - moment) / partition[:, None]
        assert error.max() < 1e-10


@pytest.mark.mpi
@pytest.mark.parametrize("norm", [2.0, 40.0, 400.0, 30_000.0])
@pytest.mark.parametrize("only", [None, 0])
class TestRanks:
    def test_the_same_sums_as_alone(self, share, gather, norm, only):
        points, queries = some(1, 300, 2), norm * some(2, 200, 2) * [1.0, 0.1]
        weights, log_factors = np.random.default_rng(3).uniform(0, [[1], [9]], (2, 300))
        alone = prepare(queries, points, 1e-9).sums(weights, log_factors)
        last = None if only is None else MPI.COMM_WORLD.size - 1
        mine = [share(a, only) for a in (points, weights, log_factors)]
        backend = prepare(share(queries, last), mine[0], 1e-9, MPI.COMM_WORLD)
        together = backend.sums(*mine[1:])
        partition = backend.sums(*mine[1:], moment=False).partition
        np.testing.assert_allclose(partition, together.partition, rtol=1e-12)
        if only is None:
            log_scale, partition, moment = map(gather, together)
        elif MPI.COMM_WORLD.rank == last:
            log_scale, partition, moment = together
        else:
            assert together.moment.shape == (0, 2)
            return
        np.testing.assert_allclose(log_scale, alone.log_scale, rtol=0, atol=1e-12 * norm)
        np.testing.assert_allclose(partition, alone.partition, rtol=1e-12)
        error = np.abs(moment - alone.moment).max(axis=1) / alone.partition
        assert error.max() < 1e-12

    def test_no_points_anywhere(self, share, norm, only):
        backend = prepare(norm * some(1, 5, 2), some(2, 0, 2), 1e-4, MPI.COMM_WORLD)
        assert not backend.sums(np.zeros(0)).partition.any()


class Scales:
    """A communicator of two ranks that hold the same, which weighs what it is given to send."""

    size = 2

    def __init__(self):
        self.sent = []

    def Allreduce(self, in_place, array, op=MPI.SUM):
        assert in_place is MPI.IN_PLACE
        self.sent.append(array.nbytes)
        if op == MPI.SUM:
            array *= 2


@pytest.mark.parametrize("norm", [5.0, 500.0])
def test_ten_times_the_points_send_the_same_bytes(norm):
    ends = np.array([[-1.0, -1.0], [1.0, 1.0]])
    sent = []
    for count in (1_000, 10_000):
        scales, points = Scales(), np.concatenate([ends, some(1, count - 2, 2)])
        queries, weights = norm * points * [1.0, 0.01], np.full(count, 1 / count)
        got = prepare(queries, points, 1e-9, scales).sums(weights, moment=False).partition
        alone = prepare(queries, points, 1e-9).sums(weights, moment=False).partition
        np.testing.assert_allclose(got, 2 * alone, rtol=1e-12)
        sent.append(scales.sent)
    few, many = sent
    assert few == many
    assert len(many) == 3
