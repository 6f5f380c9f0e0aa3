"""Every integrator has its order, at times that change the equation, too, and for what leaves."""

from functools import partial

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from meanformer.integrators import imex, ssp
from meanformer.integrators.explicit import RK4
from meanformer.integrators.stepper import Rate

START, END = np.array([1.0, 0.5]), 1.0
SHARE = 0.5  # of the restoring force, which implicit stages take


def pendulum(u, time, share=0.0):
    """x' = y, y' = -sin x + share x + sin 3t: a pendulum that is pushed; what leaves is y."""
    return Rate(np.array([u[1], share * u[0] - np.sin(u[0]) + np.sin(3 * time)]), u[1])


def spring(u):
    """y' = -share x, the rest of the pendulum."""
    return np.array([0.0, -SHARE * u[0]])


def explicit(integrator):
    return partial(integrator.step, tendency=pendulum), pendulum


def limited(integrator):
    return partial(integrator.step, tendency=pendulum, limit=lambda u: 0), pendulum


def split(integrator):
    tendency = partial(pendulum, share=SHARE)
    return partial(
        integrator.step,
        tendency=tendency,
        stiff=spring,
        solve=lambda known, length: known + length * spring(known),
        limit=lambda u: True,
    ), tendency


STEPPERS = [
    pytest.param(RK4.order, *explicit(RK4), id=RK4.name),
    *(pytest.param(s.order, *limited(s), id=s.name) for s in ssp.BY_DEGREE.values()),
    *(pytest.param(s.order, *split(s), id=s.name) for s in dict.fromkeys(imex.BY_DEGREE.values())),
]


def march(stepper, tendency, count):
    """The states at the ends of equal steps up to the end, and what left."""
    u, dt, left = START, END / count, 0.0
    for k in range(count):
        step = stepper(u, k * dt, dt, tendency(u, k * dt))
        u, left = step.after, left + step.outflow
    return u, left


@pytest.mark.parametrize("order, stepper, tendency", STEPPERS)
def test_order_on_a_pendulum_that_is_pushed(order, stepper, tendency):
    exact = solve_ivp(
        lambda t, u: pendulum(u, t).change, (0, END), START, "DOP853", rtol=1e-13, atol=1e-14
    ).y[:, -1]
    errors = [np.abs(march(stepper, tendency, n)[0] - exact).max() for n in (20, 40)]
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.25


@pytest.mark.parametrize("order, stepper, tendency", STEPPERS)
def test_what_leaves_is_integrated_by_the_same_integrator(order, stepper, tendency):
    # x' = y and what leaves is y: both grow by the same, up to round-off.
    u, left = march(stepper, tendency, 10)
    assert left == pytest.approx(u[0] - START[0], abs=1e-14)


@pytest.mark.parametrize("order, stepper, tendency", STEPPERS)
def test_a_step_leaves_its_start_and_first_rate_alone(order, stepper, tendency):
    u, first = START.copy(), tendency(START, 0.0)
    kept = first.change.copy()
    stepper(u, 0.0, 0.1, first)
    assert np.array_equal(u, START) and np.array_equal(first.change, kept)


@pytest.mark.parametrize("integrator", [*ssp.BY_DEGREE.values()], ids=lambda s: s.name)
@pytest.mark.parametrize("refused", ["first", "last"])
def test_one_refused_stage_refuses_the_step_but_ends_it(integrator, refused):
    calls, stages = [], len(integrator.rows)

    def limit(u):
        calls.append(u)
        return int(len(calls) == (1 if refused == "first" else stages))

    first = pendulum(START, 0.0)
    assert integrator.step(START, 0.0, 0.1, first, tendency=pendulum, limit=limit) is None
    assert len(calls) == stages  # other ranks, which refuse nothing, go through as many
