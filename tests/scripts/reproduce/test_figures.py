"""Figures of the paper: their cases, what is measured of them, and that they can be drawn."""

import math
from dataclasses import replace

import numpy as np
import pytest

from meanformer.scripts.reproduce.figures import FIGURES
from meanformer.scripts.reproduce.polytopes import hull_checks
from meanformer.scripts.reproduce.recording import Recording
from meanformer.simulation import Case
from meanformer.theory import Deviation, leading

SQUARE = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]])


def hold(checks):
    return [check.agrees for check in checks]


def of_positions(*positions, times=None):
    times = range(len(positions)) if times is None else times
    return Recording(np.array(times), np.stack(positions), np.empty((len(positions), 0, 0)))


def of_matrices(*matrices):
    tokens = np.linspace(-1, 1, len(matrices[0]))[:, None]
    positions = np.stack([tokens] * len(matrices))
    return Recording(np.arange(len(matrices)), positions, np.stack(matrices))


@pytest.mark.parametrize("name", FIGURES)
def test_cases_are_read_again(name, tmp_path):
    case = FIGURES[name].case(name, 5)
    (tmp_path / "case.toml").write_text(case.to_toml())
    assert Case.load(tmp_path / "case.toml") == case
    assert case.particles.seed == 5


@pytest.mark.parametrize("name", FIGURES)
def test_picture_times_are_samples(name):
    figure = FIGURES[name]
    for time in figure.shown:
        samples = time / figure.sample_every
        assert samples == pytest.approx(round(samples)) and time <= figure.end


def test_seeds_are_of_random_matrices_too():
    figure = FIGURES["low-rank"]
    first, again, other = (figure.matrices(seed)["value"] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_check_of_no_number_fails():
    assert Deviation("any", 1.0, 1.0).agrees
    assert not Deviation("any", math.nan, 1.0).agrees


class TestBoolean:
    figure = FIGURES["boolean"]

    def test_rows_of_outermost_tokens(self):
        limit = np.zeros((6, 6))
        limit[:3, 0] = limit[3:, 5] = 1
        limit[2] = 1 / 6
        assert hold(self.figure.checks(of_matrices(limit))) == [True, True]

    def test_two_other_rows(self):
        rows = np.zeros((6, 6))
        rows[:, 0] = 1
        rows[2:4] = 1 / 6
        assert hold(self.figure.checks(of_matrices(rows))) == [False, True]

    def test_rows_of_inner_tokens(self):
        rows = np.zeros((6, 6))
        rows[:, 3] = 1
        assert hold(self.figure.checks(of_matrices(rows)))[0] is False


class TestPolytope:
    def test_tokens_on_the_boundary(self):
        last = np.concatenate([SQUARE, [[0.0, 1.0], [0.0, 0.0]]])
        assert hold(hull_checks(np.stack([2 * last, last]))) == [True, True]

    def test_a_token_inside(self):
        last = np.concatenate([SQUARE, [[0.4, 0.2]]])
        assert hold(hull_checks(np.stack([2 * last, last]))) == [True, False]

    def test_hulls_that_grow(self):
        assert hold(hull_checks(np.stack([SQUARE, 1.001 * SQUARE]))) == [False, True]


@pytest.mark.parametrize("name", [name for name in FIGURES if name.startswith("hyperplanes")])
class TestHyperplanes:
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
    def test_values(self, name, count):
        figure, heights = FIGURES[name], np.arange(14.0) % count
        found = leading(np.array(figure.value))
        points = np.random.default_rng(0).normal(size=(14, figure.dimension))
        points += np.outer(heights - points @ found.left, found.right)
        (check,) = figure.checks(of_positions(points))
        assert check.number == count
        assert check.agrees is (count <= 3)

    def test_it_is_a_case_of_the_theorem(self, name):
        found = leading(np.array(FIGURES[name].value))
        assert found is not None and found.eigenvalue > 0
        others = np.linalg.eigvals(np.array(FIGURES[name].value))
        others = others[np.abs(others - found.eigenvalue) > 1e-9].real
        assert np.all(others > 0) if name.endswith("positive") else np.all(others < 0)


class TestRepulsive:
    figure = FIGURES["repulsive"]

    def at(self, time, factor=1.0):
        # The covariance of the square's corners is the identity.
        return SQUARE * np.sqrt(factor * 0.5 / time)

    def test_the_limit(self):
        recording = of_positions(self.at(1.0), self.at(200.0, 1.01), times=[1.0, 200.0])
        assert hold(self.figure.checks(recording)) == [True, True]

    def test_another_rate(self):
        recording = of_positions(self.at(1.0), self.at(200.0, 1.05), times=[1.0, 200.0])
        assert hold(self.figure.checks(recording)) == [False, True]

    def test_a_sum_that_rises(self):
        times = [0.9, 1.0, 200.0]
        recording = of_positions(self.at(1.1), self.at(1.0), self.at(200.0), times=times)
        assert hold(self.figure.checks(recording)) == [True, False]


class TestLowRank:
    figure = FIGURES["low-rank"]

    def test_a_rank_that_falls(self):
        low = np.zeros((40, 40))
        low[:30, 3] = low[30:, 5] = 1
        assert hold(self.figure.checks(of_matrices(np.eye(40), low))) == [True]

    def test_a_rank_that_stays(self):
        assert hold(self.figure.checks(of_matrices(np.eye(40), np.eye(40)[::-1]))) == [False]


class TestHardmax:
    figure = FIGURES["hardmax"]
    # The corners lead; two tokens follow the first.
    tokens = np.concatenate([SQUARE, 0.8 * SQUARE[:1], 0.5 * SQUARE[:1]])

    def after(self, *moves):
        moved = self.tokens.copy()
        for token, place in moves:
            moved[token] = place
        return moved

    def end(self, *moves):
        return self.after((4, SQUARE[0]), (5, SQUARE[0]), *moves)

    def test_leaders(self):
        assert self.figure.leaders(self.tokens).tolist() == [True] * 4 + [False] * 2

    def test_followers_that_arrive(self):
        assert hold(self.figure.checks(of_positions(self.tokens, self.end()))) == [True] * 3

    def test_a_leader_that_moves(self):
        moved = self.end((2, 1.001 * SQUARE[2]))
        recording = of_positions(self.tokens, moved)
        assert hold(self.figure.checks(recording)) == [False, True, True]

    def test_a_size_that_falls(self):
        recording = of_positions(self.tokens, self.after((5, 0.4 * SQUARE[0])), self.end())
        assert hold(self.figure.checks(recording)) == [True, False, True]

    def test_a_follower_that_stays(self):
        recording = of_positions(self.tokens, self.after((4, SQUARE[0])))
        assert hold(self.figure.checks(recording)) == [True, True, False]

    @pytest.mark.parametrize("name", [name for name in FIGURES if name.startswith("hardmax")])
    def test_it_is_a_case_of_the_theorem(self, name):
        matrix = np.array(FIGURES[name].matrix)
        assert np.array_equal(matrix, matrix.T) and np.linalg.eigvalsh(matrix).min() > 0
        case = FIGURES[name].case(name, 1)
        assert case.time.step == case.time.sample_every == 0.5
        assert case.attention.relative and case.particles.integrator == "layers"


def drawn(figure, positions):
    """The axes of a picture of its last sample, all of whose parts were rendered."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from meanformer.scripts.reproduce.sheets import draw_picture

    samples, number, _ = positions.shape
    matrices = np.random.default_rng(1).dirichlet(np.ones(number), size=(samples, number))
    recording = Recording(np.arange(float(samples)), positions, matrices)
    sheet = draw_picture(replace(figure, number=number, shown=(samples - 1.0,)), recording)
    FigureCanvasAgg(sheet).draw()
    return sheet.axes


@pytest.mark.parametrize("name", FIGURES)
def test_panels_can_be_drawn(name):
    pytest.importorskip("matplotlib")
    figure, rng = FIGURES[name], np.random.default_rng(0)
    first, *others = drawn(figure, rng.normal(size=(3, 9, figure.dimension)))
    assert first.get_title() == "t = 2"
    assert len(others) == figure.has_history
    assert first.has_data()


@pytest.mark.parametrize("name", ["polytope-2d", "polytope-3d", "polytope-subspace"])
def test_flat_hulls_are_not_drawn(name):
    pytest.importorskip("matplotlib")
    along = np.linspace(-1, 1, 9)[:, None] * np.arange(1, FIGURES[name].dimension + 1)
    (panel,) = drawn(FIGURES[name], np.stack([along, along]))
    assert not [patch for patch in panel.patches if len(patch.get_xy())]
