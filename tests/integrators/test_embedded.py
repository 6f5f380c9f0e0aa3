"""The embedded pair: its orders, at the end of a step, inside of it, and of its error."""

import numpy as np
import pytest
from scipy.integrate import RK45, solve_ivp

from meanformer.integrators.control import StepControl
from meanformer.integrators.embedded import DORMAND_PRINCE, DenseStep
from meanformer.integrators.stepper import Rate

START, END = np.array([1.0, 0.5]), 2.0


def pendulum(u, time):
    return Rate(np.array([u[1], -np.sin(u[0]) + np.sin(3 * time)]))


def take(state, start, length):
    given = state, start, length
    rates = DORMAND_PRINCE.rates(*given, pendulum(state, start), pendulum)
    return DenseStep(DORMAND_PRINCE, *given, rates)


def exact(time):
    given = (0, time), START, "DOP853"
    return solve_ivp(lambda t, u: pendulum(u, t).change, *given, rtol=1e-13, atol=1e-15).y[:, -1]


def steps(count):
    u, dt = START, END / count
    for k in range(count):
        step = take(u, k * dt, dt)
        yield step
        u = step.after()


@pytest.mark.parametrize("share", [1.0, 0.1, 0.37, 0.8])
def test_is_of_order_five_at_the_end_and_inside(rate, share):
    # Inside, the polynomial of one step adds an error of order 5 as well.
    sizes, errors = (8, 16, 32, 64), []
    for count in sizes:
        *_, last = steps(count)
        time = last.start + share * last.length
        errors.append(np.abs(last.at(time) - exact(time)).max())
    assert rate(errors, sizes, meshes=4) > 4.8
    assert errors[-1] < 1e-8


def test_the_estimate_is_the_difference_from_a_solution_of_order_four(rate):
    sizes = (8, 16, 32, 64)
    estimates = [np.abs(next(steps(count)).error()).max() for count in sizes]
    assert rate(estimates, sizes) == pytest.approx(5, abs=0.2)
    # Both are of one step: a bound of its true error, which is of order 6.
    (first, *_) = steps(64)
    assert np.abs(first.after() - exact(first.length)).max() < estimates[-1]


def test_is_the_method_of_other_programs():
    theirs = RK45(lambda t, u: pendulum(u, t).change, 0.0, START, END, first_step=0.25, rtol=1e-3)
    theirs.step()
    mine = take(START, 0.0, 0.25)
    assert np.allclose(mine.after(), theirs.y, rtol=0, atol=1e-15)
    inside = theirs.dense_output()
    for time in (0.0, 0.07, 0.2, 0.25):
        assert np.allclose(mine.at(time), inside(time), rtol=0, atol=1e-15)


def test_the_last_rate_is_that_at_the_end():
    step = take(START, 0.3, 0.1)
    assert np.allclose(
        step.rates[-1].change, pendulum(step.after(), 0.4).change, rtol=0, atol=1e-15
    )


class TestControl:
    def test_keeps_an_error_of_a_known_law_below_one(self):
        # An error C dt^5 that grows a thousandfold: the length follows within a few steps.
        control, refused = StepControl(5, 1e-3), 0
        for number in range(60):
            factor = 1.0 if number < 30 else 1e3
            while not control.accepts(factor * control.length**5):
                refused += 1
        assert refused <= 2
        assert 0.3 < 1e3 * control.length**5 < 1.0

    def test_refuses_what_is_too_large_or_no_number(self):
        for error in (1.01, 1e9, np.inf, np.nan):
            control = StepControl(5, 1.0)
            assert not control.accepts(error)
            assert 0.19 < control.length < 1.0

    def test_does_not_grow_after_a_refused_step(self):
        control = StepControl(5, 1.0)
        control.accepts(2.0)
        length = control.length
        assert control.accepts(1e-9)
        assert control.length == length
        assert control.accepts(1e-9)
        assert control.length == 10 * length
