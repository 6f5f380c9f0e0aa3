"""Conditions of order and damping of the implicit-explicit Runge-Kutta methods."""

import numpy as np
import pytest

from meanformer.integrators.imex import BY_DEGREE


@pytest.mark.parametrize("integrator", dict.fromkeys(BY_DEGREE.values()), ids=lambda s: s.name)
class TestScheme:
    def test_conditions_of_order(self, integrator):
        tables, w = (integrator.explicit, integrator.implicit), integrator.weights
        nodes = integrator.explicit.sum(axis=1)
        # A stationary state stays: both parts have the same nodes.
        assert np.allclose(integrator.implicit.sum(axis=1), nodes, atol=1e-14)
        assert w.sum() == pytest.approx(1, abs=1e-14)
        assert w @ nodes == pytest.approx(1 / 2, abs=1e-14)
        if integrator.order == 3:
            assert w @ nodes**2 == pytest.approx(1 / 3, abs=1e-14)
            for table in tables:
                assert w @ table @ nodes == pytest.approx(1 / 6, abs=1e-14)

    def test_implicit_part_is_stiffly_accurate_and_damps(self, integrator):
        assert np.allclose(integrator.implicit[-1], integrator.weights, atol=1e-14)
        size, one = len(integrator.weights), np.ones(len(integrator.weights))
        for z in (-1e4, -1e8):
            stages = np.linalg.solve(np.eye(size) - z * integrator.implicit, one)
            assert abs(1 + z * integrator.weights @ stages) < 1e-3

    def test_explicit_part_is_explicit(self, integrator):
        assert np.array_equal(integrator.explicit, np.tril(integrator.explicit, -1))
