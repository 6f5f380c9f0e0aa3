"""Convexity of the SSP Runge-Kutta methods."""

import pytest

from meanformer.integrators.ssp import BY_DEGREE


@pytest.mark.parametrize("integrator", BY_DEGREE.values(), ids=lambda s: s.name)
def test_every_stage_is_a_convex_combination(integrator):
    for k, (start, mix) in enumerate(integrator.rows):
        weights = [start, *mix.values()]
        assert min(weights) >= 0
        assert sum(weights) == pytest.approx(1.0, abs=1e-15)
        assert max(mix) == k


def test_the_integrator_of_a_degree_has_the_order_of_the_space():
    assert all(integrator.order == degree + 1 for degree, integrator in BY_DEGREE.items())
