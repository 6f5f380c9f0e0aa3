"""Order and convexity of the SSP Runge-Kutta schemes."""

import numpy as np
import pytest

from meanformer.integrators.ssp import BY_DEGREE, EULER, SSPRK22, SSPRK43, SSPRK104

SCHEMES = [EULER, SSPRK22, SSPRK43, SSPRK104]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
def test_order_on_a_nonlinear_system(scheme):
    # x' = y, y' = -sin x: a pendulum, against a fine run of the best scheme.
    def field(u):
        return np.array([u[1], -np.sin(u[0])])

    def solve(method, steps):
        dt, u = 1.0 / steps, np.array([1.0, 0.5])
        for _ in range(steps):
            u = method.step(u, lambda v: v + dt / method.coefficient * field(v))
        return u

    exact = solve(SSPRK104, 400)
    errors = [np.abs(solve(scheme, n) - exact).max() for n in (20, 40)]
    assert abs(np.log2(errors[0] / errors[1]) - scheme.order) < 0.25


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
def test_every_stage_is_a_convex_combination(scheme):
    for k, (start, mix) in enumerate(scheme.rows):
        weights = [start, *mix.values()]
        assert min(weights) >= 0
        assert sum(weights) == pytest.approx(1.0, abs=1e-15)
        assert max(mix) == k


def test_the_scheme_of_a_degree_has_the_order_of_the_space():
    assert all(scheme.order == degree + 1 for degree, scheme in BY_DEGREE.items())
