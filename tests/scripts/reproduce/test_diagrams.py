"""Diagrams: their cases, what is measured of them, and that they can be drawn."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from meanformer.scripts.reproduce.figures import DIAGRAMS
from meanformer.simulation import Case
from meanformer.theory.random_layers import antipodal_probability

PHASES, PAIRS = DIAGRAMS["phase-diagram"], DIAGRAMS["random-layers"]


def hold(checks):
    return [check.agrees for check in checks]


@pytest.mark.parametrize("name", DIAGRAMS)
def test_cases_are_read_again(name, tmp_path):
    cases = DIAGRAMS[name].cases(name, 5)
    (tmp_path / "case.toml").write_text(cases[-1].to_toml())
    assert Case.load(tmp_path / "case.toml") == cases[-1]
    assert cases[-1].particles.seed == 5
    assert len({case.title for case in cases}) == len(cases)


class TestPhases:
    def test_the_meeting_time_is_that_of_equal_angles(self):
        n = PHASES.number

        def rate(t, g, beta):
            return 2 * (1 - g) * (1 + (n - 1) * g) / (np.exp(beta * (1 - g)) + n - 1)

        def met(t, g, beta):
            return g[0] - 0.999

        met.terminal = True
        for beta in (0.1, 3.0, 6.0):
            found = solve_ivp(
                rate, (0, 1e3), [0.0], args=(beta,), events=met, rtol=1e-10, atol=1e-12
            )
            assert PHASES.meeting_time(beta) == pytest.approx(found.t_events[0][0], rel=1e-7)

    def shares(self, late=1.0):
        times = np.arange(0.0, PHASES.end + 0.1, PHASES.sample_every)
        meeting = np.array([PHASES.meeting_time(beta) for beta in PHASES.betas])
        return times, (1 + np.tanh((times - late * meeting[:, None]) / 0.2)) / 2

    def test_pairs_that_meet_in_time(self):
        assert hold(PHASES.checks(*self.shares())) == [True, True]

    def test_pairs_that_meet_late(self):
        assert hold(PHASES.checks(*self.shares(1.4)))[1] is False

    def test_pairs_that_do_not_meet(self):
        times, shares = self.shares()
        assert hold(PHASES.checks(times, 0 * shares))[0] is False


class TestPairs:
    wanted = np.array([antipodal_probability(0.0, beta, d) for d, beta in PAIRS.runs])

    def of(self, shares):
        return PAIRS.checks(np.array([0.0, 1.0]), np.stack([0 * shares, shares], axis=1))

    def test_shares_of_the_formula(self):
        assert hold(self.of(self.wanted)) == [True, True]

    def test_shares_off(self):
        off = self.wanted + 0.15 * (self.wanted == self.wanted.max())
        assert hold(self.of(off)) == [False, True]

    def test_shares_where_there_are_none(self):
        off = self.wanted + 0.03 * (self.wanted == 0)
        assert hold(self.of(off))[1] is False

    def test_layers_are_those_of_the_paper(self):
        # x + h V m with h = eta and V of entries N(0, s^2 / d) is x + sqrt(eta) W m.
        for (d, beta), case in zip(PAIRS.runs, PAIRS.cases("any", 1), strict=True):
            assert case.attention.beta == beta and case.space.dimension == d
            random = case.attention.random_values
            assert case.time.step == random.duration == PAIRS.layer
            entry = PAIRS.layer * random.scale / np.sqrt(d)
            assert entry == pytest.approx(np.sqrt(PAIRS.layer))


@pytest.mark.parametrize("name", DIAGRAMS)
def test_it_can_be_drawn(name):
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    diagram = DIAGRAMS[name]
    shares = np.random.default_rng(0).random((len(diagram.cases(name, 1)), 3))
    sheet = diagram.draw(np.array([0.0, 1.0, 2.0]), shares)
    FigureCanvasAgg(sheet).draw()
    assert all(axes.has_data() for axes in sheet.axes)
