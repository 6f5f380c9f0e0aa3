"""Runs with a drift: columns, ranks, resumed runs, studies, predictions."""

import tomllib

from mpi4py import MPI

import numpy as np
import pytest
from scipy.linalg import expm, sqrtm

from meanformer.attention.measures import AngularGaussian
from meanformer.simulation import Case, converge, run
from meanformer.simulation.predictions import predict
from meanformer.simulation.studies.exact_values import exact_columns

WORLD = MPI.COMM_WORLD
MATRIX = [[0.5, -0.6], [0.2, -0.4]]
TURN = [[0.2, -0.6, 0.1], [0.4, 0.1, 0.2], [0.0, 0.3, -0.3]]
CIRCLE = {
    "space": {"dimension": 2},
    "attention": {"beta": 1.0, "value": 0.0},
    "drift": {"linear": MATRIX},
    "initial": {"kind": "uniform"},
    "pde": {"refinement": 3},
    "time": {"end": 1.0, "sample_every": 0.5},
    "output": {"fields": ["none"]},
}
PLANE = {
    "space": {"kind": "euclidean", "dimension": 2},
    "attention": {"beta": 0.5, "value": -1.0},
    "drift": {"linear": [[0.3, -0.5], [0.5, 0.1]]},
    "initial": {"kind": "gaussian", "mean": [0.2, -0.1], "covariance": 0.6},
    "particles": {"number": 300},
    "time": {"end": 0.3},
    "output": {"fields": ["none"]},
}
STEMS = ("pde", "particles", "compare")


@pytest.fixture
def perceptron(shared_tmp_path):
    if WORLD.rank == 0:
        rng = np.random.default_rng(2)
        shapes = {"U": (4, 3), "b": (4,), "W": (3, 4)}
        np.savez(shared_tmp_path / "mlp.npz", **{k: rng.normal(size=s) for k, s in shapes.items()})
    WORLD.barrier()
    return {"perceptron": str(shared_tmp_path / "mlp.npz"), "activation": "tanh"}


def on_sphere(drift, end=0.4, **tables):
    data = {
        "attention": {"beta": 2.0},
        "drift": drift,
        "initial": {"kind": "von-mises-fisher", "mean": [0.0, 0.6, 0.8], "concentration": 2.0},
        "pde": {"refinement": 1, "degree": 1},
        "particles": {"number": 60},
        "compare": {"metrics": ["harmonic"]},
        "time": {"end": end, "sample_every": 0.1, "step": 0.05},
        "output": {"fields": ["none"]},
    }
    return Case.from_dict({name: t for name, t in (data | tables).items() if t is not None})


@pytest.mark.mpi
def test_directions_on_the_circle():
    # int x x^T is G^{1/2} / tr G^{1/2} with G = e^{tM} e^{tM^T}.
    result = run(Case.from_dict(CIRCLE))
    for row, time in enumerate(result.pde["t"]):
        flow = expm(time * np.array(MATRIX))
        root = sqrtm(flow @ flow.T)
        wanted = root / np.trace(root)
        found = [result.pde[f"cov_{ij}"][row] for ij in (11, 12, 22)]
        assert np.abs(found - wanted[[0, 0, 1], [0, 1, 1]]).max() < 1e-5


def test_density_and_tokens_stay_together():
    result = run(on_sphere({"linear": TURN}, pde={"refinement": 2}, particles={"number": 2000}))
    distance, noise = (result.compare[name] for name in ("harmonic", "harmonic_noise"))
    assert np.all(distance < 2 * noise)
    # Without the drift the mean goes elsewhere.
    still = run(on_sphere({"linear": 0.0}, pde={"refinement": 2}, particles=None, compare=None))
    apart = [result.pde[f"mean_{i}"][-1] - still.pde[f"mean_{i}"][-1] for i in (1, 2, 3)]
    assert np.linalg.norm(apart) > 0.05


@pytest.mark.mpi
@pytest.mark.parametrize("kind", ["linear", "perceptron", "layers"])
def test_ranks_agree(kind, perceptron):
    drift = perceptron if kind == "perceptron" else {"linear": TURN}
    layers = [{"duration": 0.13, "value": -1.0}, {"duration": 0.2, "query": TURN}]
    tables = {"attention": {"beta": 2.0, "layers": layers}} if kind == "layers" else {}
    one = on_sphere(drift, 0.2, **tables)
    together, alone = run(one), run(one, comm=MPI.COMM_SELF)
    for stem in STEMS:
        for name, values in getattr(alone, stem).items():
            found = getattr(together, stem)[name]
            assert np.allclose(found, values, rtol=1e-12, atol=1e-12, equal_nan=True), name


@pytest.mark.mpi
@pytest.mark.parametrize("integrator", ["adaptive", "rk4"])
def test_a_resumed_run_is_the_same_bit_for_bit(shared_tmp_path, perceptron, integrator):
    options = {"particles": {"number": 60, "integrator": integrator}}
    whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
    run(on_sphere(perceptron, 0.4, **options), whole)
    run(on_sphere(perceptron, 0.2, **options), parts)
    run(on_sphere(perceptron, 0.4, **options), parts, resume=True)
    WORLD.barrier()
    for stem in STEMS:
        assert (parts / f"{stem}.csv").read_bytes() == (whole / f"{stem}.csv").read_bytes()
    written = tomllib.loads((whole / "case.toml").read_text())
    assert written["drift"] == perceptron


@pytest.mark.parametrize("quantity", [None, "cov_12"])
def test_studies_know_exact_solutions(quantity):
    study = converge(Case.from_dict(CIRCLE), "pde.refinement", [1, 2, 3], quantity)
    assert study.reference == "exact solution"
    if quantity is None:
        assert study.order == pytest.approx(3, abs=0.3)
    assert study.rows[-1].error < 1e-3


def test_columns_of_exact_solutions_on_the_sphere():
    # Second moments of directions of N(0, G), against another rule.
    measure = AngularGaussian(((2.0, 0.3, -0.2), (0.3, 1.0, 0.4), (-0.2, 0.4, 0.7)))
    columns = exact_columns(measure)
    height, weights = np.polynomial.legendre.leggauss(200)
    turn = 2 * np.pi * (np.arange(400) + 0.25) / 400
    radius = np.sqrt(1 - height**2)[:, None]
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn), height[:, None] + 0 * turn], 2)
    points = points.reshape(-1, 3)
    masses = measure.density(points) * np.repeat(weights, 400) * 2 * np.pi / 400
    squares = points.T * masses @ points
    for i, j in ((0, 0), (0, 1), (1, 2), (2, 2)):
        assert columns[f"cov_{i + 1}{j + 1}"] == pytest.approx(squares[i, j], abs=1e-10)


def test_no_theorem_on_late_times_is_called():
    cloud = PLANE | {"initial": {"kind": "box", "lower": [-5, -5], "upper": [5, 5]}}
    cloud = cloud | {"attention": {"beta": 1.0, "value": [[0.647, 0.819], [0.612, 0.633]]}}
    still = {name: table for name, table in cloud.items() if name != "drift"}
    assert any(each.applies for each in predict(Case.from_dict(still)))
    assert not any(each.applies for each in predict(Case.from_dict(cloud)))
    assert "hyperplanes" in run(Case.from_dict(still)).particles
    assert "hyperplanes" not in run(Case.from_dict(cloud)).particles
