"""Attention that changes with time, and what solvers make of it."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import (
    Attention,
    Schedule,
    Sphere,
)
from meanformer.particles import TokenSolver
from meanformer.solvers import advance

ALONE = MPI.COMM_SELF
FORWARD, BACKWARD = Attention(beta=1.0), Attention(beta=1.0, value=-1.0)


def run(model, points, space, end, step):
    return advance(TokenSolver(points, model, space, ALONE, step), end)


class TestSchedule:
    def test_layers_follow_one_another(self):
        schedule = Schedule([FORWARD, BACKWARD, FORWARD], [0.5, 1.0, 2.0])
        times = [0.0, 0.25, 0.5, 1.49, 1.5, 3.5, 100.0]
        values = [schedule.at(t).value for t in times]
        assert values == [None, None, -1.0, -1.0, None, None, None]
        assert [schedule.next_change(t) for t in times] == [0.5, 0.5, 1.5, 1.5] + 3 * [np.inf]

    @pytest.mark.parametrize(
        ("layers", "durations", "match"),
        [
            ([], 1.0, "at least one"),
            ([FORWARD], 0.0, "positive"),
            ([FORWARD], np.inf, "finite"),
            ([FORWARD, BACKWARD], [1.0], "durations"),
        ],
    )
    def test_refuses(self, layers, durations, match):
        with pytest.raises(ValueError, match=match):
            Schedule(layers, durations)

    def test_tokens_return_when_the_value_changes_its_sign(self, on_sphere):
        # x' = -v(x) runs x' = v(x) backwards; only a step across the change would miss it.
        start = on_sphere(1, 30)
        solver = run(Schedule([FORWARD, BACKWARD], 0.3), start, Sphere(3), 0.6, 0.07)
        assert solver.time == 0.6
        assert np.abs(run(FORWARD, start, Sphere(3), 0.3, 0.07).points - start).max() > 0.02
        assert np.abs(solver.points - start).max() < 1e-6
