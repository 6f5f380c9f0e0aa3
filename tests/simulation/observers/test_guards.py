"""Steps far longer than the automatic ones are told."""

import re

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean
from meanformer.particles import TokenSolver
from meanformer.simulation import Case, run

LINE = (
    r"caps: warning: (density|tokens): the step of ([\d.e+-]+) at t = ([\d.e+-]+) is ([\d.e+-]+) "
    r"times the automatic one \(([\d.e+-]+)\)"
)


def case(attention=None, **time):
    return Case.from_dict(
        {
            "title": "caps",
            "attention": {"beta": 4.0} | (attention or {}),
            "initial": {"kind": "von-mises-fisher", "mean": [0, 0, 1], "concentration": 4.0},
            "pde": {"degree": 1, "refinement": 1},
            "particles": {"number": 200, "integrator": "rk4"},
            "compare": {"metrics": ["w1"]},
            "time": {"end": 1.0, "sample_every": 1.0} | time,
        }
    )


def warnings(capfd):
    """Name, step, time, ratio and automatic step of each line on rank 0."""
    found = re.findall(LINE, capfd.readouterr().err)
    return MPI.COMM_WORLD.bcast([(name, *map(float, numbers)) for name, *numbers in found])


@pytest.mark.mpi
def test_a_long_step_is_told_once_of_each_solver(capfd):
    result = run(case(step=0.5))
    automatic = run(case(end=1e-9, sample_every=1e-9)).state
    MPI.COMM_WORLD.barrier()
    told = warnings(capfd)
    assert [line[0] for line in told] == ["density", "tokens"]
    again = [line for line in result.summary["warnings"] if "times the automatic one" in line]
    assert len(again) == 2
    for name, step, time, ratio, safe in told:
        solver = automatic.solvers[name]
        assert time == 0
        # Those of the density that make a mean negative are halved.
        assert step == 0.5 or (name == "density" and step in (0.25, 0.125))
        assert safe == pytest.approx(solver.automatic_step, rel=0.05)
        assert ratio == pytest.approx(step / solver.automatic_step, rel=0.05)
        assert ratio > 2
    assert result.status == "done"


@pytest.mark.mpi
@pytest.mark.parametrize("step", ["auto", 0.01])
def test_short_steps_are_not(step, capfd):
    run(case(step=step))
    MPI.COMM_WORLD.barrier()
    assert warnings(capfd) == []


def test_a_step_that_samples_shorten_is_not(capfd):
    run(case(step=1.0, sample_every=0.01, end=0.02))
    assert warnings(capfd) == []


def test_a_step_that_becomes_too_long_is_told_then(capfd):
    layers = [{"duration": 0.4, "value": 0.01}, {"duration": 0.6, "value": 1.0}]
    run(case({"layers": layers}, step=0.2))
    told = warnings(capfd)
    assert told and all(time == pytest.approx(0.4) for _, _, time, _, _ in told)


def test_the_automatic_step_of_tokens_is_known_with_a_fixed_one():
    points = np.array([[-0.5], [1.5]])
    solvers = [
        TokenSolver(
            points, Attention(value=-1.0), Euclidean(1), MPI.COMM_SELF, step, integrator="rk4"
        )
        for step in (None, 3.0)
    ]
    assert all(solver.automatic_step == np.inf for solver in solvers)
    for solver in solvers:
        solver.step(10.0)
    free, fixed = solvers
    assert fixed.automatic_step == free.automatic_step
    assert free.time == pytest.approx(free.automatic_step, rel=0.05)
    assert fixed.time > 2 * free.automatic_step
