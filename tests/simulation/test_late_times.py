"""Whole runs of tokens at late times: in rescaled variables of R^d, and in any dimension."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.linalg import expm

from meanformer.attention.measures import Box
from meanformer.coupling import sample_tokens
from meanformer.simulation import Case, CaseError, run

COMM = MPI.COMM_WORLD
HYPERPLANES = [[0.64709742, 0.81911926], [0.61210449, 0.63263484]]


def case(end=3.0, value=HYPERPLANES, rescaled=True, **tables):
    return Case.from_dict(
        {
            "space": {"kind": "euclidean", "dimension": 2, "rescaled": rescaled},
            "attention": {"beta": 1.0, "value": value},
            "initial": {"kind": "box", "lower": [-2.0, -1.0], "upper": [2.0, 3.0]},
            "particles": {"number": 23},
            "time": {"end": end, "sample_every": max(0.25, end / 50)},
            "output": {"fields": ["none"]},
        }
        | tables
    )


def moments(columns, row):
    mean = np.array([columns[f"mean_{i}"][row] for i in (1, 2)])
    a, b, c = (columns[f"cov_{ij}"][row] for ij in (11, 12, 22))
    return mean, np.array([[a, b], [b, c]])


@pytest.mark.mpi
def test_columns_are_of_rescaled_tokens():
    x, z = (run(case(rescaled=rescaled)).particles for rescaled in (False, True))
    start = sample_tokens(Box((-2.0, -1.0), (2.0, 3.0)), 23, 0, MPI.COMM_SELF)
    assert np.allclose(moments(z, 0)[0], start.mean(axis=0), rtol=0, atol=1e-14)
    for row, time in enumerate(z["t"]):
        forward = expm(time * np.array(HYPERPLANES))
        (mean_x, cov_x), (mean, cov) = moments(x, row), moments(z, row)
        size = np.linalg.norm(forward) ** 2
        assert np.abs(forward @ mean - mean_x).max() < 1e-5 * size
        assert np.abs(forward @ cov @ forward.T - cov_x).max() < 1e-4 * size
    # The energy is one of x.
    assert np.all(np.isnan(z["energy"])) and np.all(np.isfinite(x["energy"][:2]))


@pytest.mark.mpi
def test_going_on_is_the_same_bit_for_bit(shared_tmp_path):
    whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
    uninterrupted = run(case(), whole)
    run(case(end=1.1), parts)
    result = run(case(), parts, resume=True)
    assert result.summary["steps"] == uninterrupted.summary["steps"]
    assert result.summary["refused_steps"] == uninterrupted.summary["refused_steps"]
    # The end of the first part was a sample, which the whole run does not have.
    kept = np.isin(result.particles["t"], uninterrupted.particles["t"])
    for name, column in uninterrupted.particles.items():
        assert np.array_equal(result.particles[name][kept], column, equal_nan=True), name


@pytest.mark.mpi
def test_layers_of_rescaled_tokens():
    layers = [{"duration": 0.6, "value": HYPERPLANES}, {"duration": 9.0, "value": 0.7}]
    attention = {"attention": {"beta": 1.0, "layers": layers}}
    x, z = (run(case(1.5, rescaled=rescaled, **attention)).particles for rescaled in (False, True))
    phi = np.exp(0.7 * 0.9) * expm(0.6 * np.array(HYPERPLANES))
    assert np.abs(phi @ moments(z, -1)[0] - moments(x, -1)[0]).max() < 1e-4


@pytest.mark.mpi
def test_a_sphere_of_many_dimensions():
    means = np.eye(64)[:2].tolist()
    parts = [{"kind": "von-mises-fisher", "mean": m, "concentration": 200.0} for m in means]
    tables = {
        "space": {"dimension": 64},
        "attention": {"beta": 4.0},
        "initial": {"kind": "mixture", "components": parts},
    }
    result = run(case(2.0, **tables))
    energy = result.particles["energy"]
    assert np.diff(energy).min() > 0
    everyone = np.concatenate(COMM.allgather(result.state.tokens.points))
    assert np.abs(np.linalg.norm(everyone, axis=1) - 1).max() < 1e-15


@pytest.mark.mpi
def test_a_longer_run_goes_on_across_a_change_of_random_layers(shared_tmp_path):
    # The last step of the first part would go beyond its end, into a layer that it has no need of.
    random = {"attention": {"beta": 2.0, "random_values": {"seed": 3, "duration": 0.5}}}
    whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
    uninterrupted = run(case(1.5, rescaled=False, **random), whole)
    run(case(0.5, rescaled=False, **random), parts)
    result = run(case(1.5, rescaled=False, **random), parts, resume=True)
    for name, column in uninterrupted.particles.items():
        assert np.array_equal(result.particles[name], column, equal_nan=True), name


def test_contraction_is_what_rescaled_tokens_grow_by():
    with pytest.raises(CaseError, match="must be at most 300"):
        run(case(end=800.0, value=-1.0))
    assert run(case(end=800.0, value=-1.0, rescaled=False)).status == "done"


def test_hardmax_takes_bounded_steps():
    wanted = case(1.0, attention={"law": "hardmax", "beta": 1.0, "value": -1.0}, rescaled=False)
    assert wanted.particles.integrator == "rk4" and case().particles.integrator == "adaptive"
    assert run(wanted).status == "done"


@pytest.mark.parametrize("rescaled", [False, True])
def test_a_run_that_would_leave_double_precision_is_refused(rescaled, tmp_path):
    with pytest.raises(CaseError, match=r"time\.end: 400\.0 .* must be at most 300") as caught:
        run(case(end=400.0, value=1.0, rescaled=rescaled), tmp_path / "run")
    assert ("space.rescaled" in str(caught.value)) is not rescaled
    assert not (tmp_path / "run").exists()
    assert run(case(end=300.0, value=1.0)).status == "done"
    with pytest.raises(CaseError, match=r"must be at most 222\.5"):
        run(case(end=222.6, rescaled=rescaled))
    layers = [{"duration": 100.0, "value": 1.0}, {"duration": 300.0, "value": 0.5}]
    assert run(case(end=1.0, attention={"beta": 1.0, "layers": layers})).status == "done"
    with pytest.raises(CaseError, match="must be at most 500"):
        run(case(end=501.0, attention={"beta": 1.0, "layers": layers}))
