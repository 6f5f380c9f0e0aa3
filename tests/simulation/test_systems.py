"""Runs of several systems of tokens: their tables, files, ranks, and what is refused."""

import csv
import os
import signal

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.simulation import Case, CaseError, run
from meanformer.simulation.controller import Observer
from meanformer.simulation.predictions import predict, verify

WORLD, ALONE = MPI.COMM_WORLD, MPI.COMM_SELF
SYSTEMS = 5
ON_PLANE = {
    "space": {"kind": "euclidean", "dimension": 2},
    "initial": {"kind": "gaussian", "mean": [0.3, 0.0], "covariance": 1.0},
}
ON_CIRCLE = {"space": {"dimension": 2}}
RANDOM = {"attention": {"beta": 2.0, "random_values": {"seed": 3, "duration": 0.15}}}
LAYERS = {
    "attention": {"beta": 1.0, "random_values": {"seed": 3, "duration": 0.1, "scale": 2.0}},
    "particles": {"integrator": "layers"},
    "time": {"step": 0.1},
}
MODES = {
    "sphere": {},
    "circle": ON_CIRCLE,
    "plane": ON_PLANE,
    "hardmax": ON_PLANE | {"attention": {"law": "hardmax", "beta": 1.0}},
    "noise": {"noise": {"temperature": 0.2}, "time": {"step": 0.05}},
    "random values": RANDOM,
    "layers": LAYERS,
    "causal": {"attention": {"beta": 1.0, "causal": True}},
}


def case(mode="sphere", systems=SYSTEMS, end=0.4, number=7, **tables):
    base = {
        "attention": {"beta": 2.0},
        "initial": {"kind": "uniform"},
        "particles": {"number": number, "systems": systems, "seed": 4},
        "time": {"end": end, "sample_every": 0.2},
        "output": {"fields": ["none"]},
    }
    for given in (MODES[mode], tables):
        for name, table in given.items():
            merged = name in ("particles", "time")
            base[name] = base[name] | table if merged else table
    return Case.from_dict(base)


def same(one, other, tolerance=0.0):
    assert one.keys() == other.keys()
    for name, column in one.items():
        assert np.allclose(column, other[name], rtol=tolerance, atol=tolerance, equal_nan=True), (
            name
        )


def tokens_given(result, system, comm=ALONE):
    points = result.state.tokens.points.reshape(SYSTEMS, -1, result.state.tokens.space.dimension)
    return {"kind": "tokens", "points": points[system], "normalise": False}


@pytest.mark.parametrize("mode", ["sphere", "circle", "plane", "hardmax"])
def test_columns_are_those_of_each_alone(mode):
    # Systems at their end, as the starts of others.
    together = run(case(mode), comm=ALONE)
    names = {name: None for name in together.systems if name != "system"}
    for system in range(SYSTEMS):
        start = {"initial": tokens_given(together, system)}
        alone = run(case(mode, systems=1, end=1e-6, **start), comm=ALONE).particles
        assert list(alone) == list(names)
        for name in names.keys() - {"t"}:
            found, wanted = together.systems[name][system], alone[name][0]
            assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12, nan_ok=True), name
    spread = together.systems["spread"]
    assert len(np.unique(spread)) == SYSTEMS


@pytest.mark.parametrize("mode", MODES)
def test_means_and_deviations(mode):
    result = run(case(mode), comm=ALONE)
    assert list(result.systems["system"]) == list(range(SYSTEMS))
    assert np.all(result.systems["t"] == 0.4)
    for name, column in result.systems.items():
        if name in ("system", "t", "mass") or np.isnan(column).all():
            assert f"{name}_std" not in result.particles
            continue
        last, deviation = result.particles[name][-1], result.particles[f"{name}_std"][-1]
        assert last == pytest.approx(np.mean(column), rel=1e-13, abs=1e-13)
        assert deviation == pytest.approx(np.std(column), rel=1e-9, abs=1e-13)
    assert result.particles["spread_std"][0] > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_the_first_system_is_the_one_of_a_run_of_one(mode):
    options = {} if mode in ("noise", "layers") else {"time": {"step": 0.05}}
    if mode not in ("noise", "layers"):
        options["particles"] = {"integrator": "rk4"}
    together = run(case(mode, **options), comm=ALONE)
    alone = run(case(mode, systems=1, **options), comm=ALONE)
    number = alone.state.tokens.number
    assert np.abs(together.state.tokens.points[:number] - alone.state.tokens.points).max() < 1e-13


def test_systems_start_from_the_tokens_given():
    points = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    given = {"initial": {"kind": "tokens", "points": points}, "particles": {"number": 3}}
    result = run(case("random values", **given), comm=ALONE)
    assert result.particles["spread_std"][0] == pytest.approx(0.0, abs=1e-15)
    assert result.particles["spread_std"][-1] > 1e-3


@pytest.mark.mpi
@pytest.mark.parametrize("mode, systems", [("plane", 5), ("random values", 2), ("hardmax", 2)])
def test_ranks_make_no_difference(mode, systems):
    shared, alone = (run(case(mode, systems=systems), comm=comm) for comm in (WORLD, ALONE))
    same(shared.particles, alone.particles, 1e-12)
    same(shared.systems, alone.systems, 1e-12)


class Signal(Observer):
    """Ends a run after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def stepped(self, state, name, start):
        self.left -= 1
        if self.left == 0 and state.comm.rank == 0:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.mpi
@pytest.mark.parametrize("mode", ["sphere", "noise", "random values", "layers"])
def test_a_run_goes_on_where_it_was_interrupted(mode, shared_tmp_path):
    whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
    wanted = case(mode, time={"step": 0.04} if mode != "layers" else {})
    uninterrupted = run(wanted, whole, WORLD)
    stopped = run(wanted, parts, WORLD, observers=[Signal(3 if mode == "layers" else 9)])
    assert stopped.status == "interrupted" and 0 < stopped.systems["t"][0] < 0.4
    with (parts / "systems.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {float(row["t"]) for row in rows} == {stopped.particles["t"][-1]}
    result = run(wanted, parts, WORLD, resume=True)
    same(result.particles, uninterrupted.particles)
    same(result.systems, uninterrupted.systems)
    for name in ("particles.csv", "systems.csv"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    # Nothing is left to do, and nothing is lost.
    again = run(wanted, parts, WORLD, resume=True)
    same(again.systems, uninterrupted.systems)


def test_fields_know_systems(tmp_path):
    pv = pytest.importorskip("pyvista")
    run(case("noise", output={"fields": ["vtu"]}), tmp_path / "run", ALONE)
    cloud = pv.read(tmp_path / "run/tokens/00002.vtp")
    assert cloud.n_points == SYSTEMS * 7
    assert np.array_equal(cloud.point_data["system"], np.repeat(np.arange(SYSTEMS), 7))


def test_predictions_are_of_the_first_system():
    space = ON_PLANE | {"space": ON_PLANE["space"] | {"rescaled": True}}
    several, one = (case("plane", systems=n, end=6.0, **space) for n in (SYSTEMS, 1))
    asked = [prediction for prediction in predict(several) if prediction.limit]
    assert [each.limit for each in asked] == [each.limit for each in predict(one) if each.limit]
    verification = verify(several, asked, ALONE)
    assert verification.agrees and len(asked) > 0
    assert verification.result.state.tokens.systems.count == 1


@pytest.mark.mpi
@pytest.mark.parametrize(
    "tables, key, allowed",
    [
        ({"particles": {"number": 10**9}}, "particles.number", "must be at most"),
        ({"particles": {"systems": 10**9}}, "particles.systems", "must be at most"),
        ({"particles": {"number": 10**8, "systems": 10**3}}, "particles.", "must be at most"),
        ({"particles": {"number": 10**8, "systems": 10**8}}, "particles.number", "of one system"),
    ],
)
def test_what_does_not_fit_into_memory(tables, key, allowed, shared_tmp_path, monkeypatch):
    monkeypatch.setattr("meanformer.simulation.requirements._memory", lambda: 2**34)
    systems = {"systems": 1} | tables["particles"]
    with pytest.raises(CaseError) as caught:
        run(case(particles=systems), shared_tmp_path / "run", WORLD)
    (problem,) = caught.value.problems
    assert problem.startswith(key) and allowed in problem and "GiB" in problem
    assert not (shared_tmp_path / "run").exists()
    most = int(problem.removesuffix(", of one system").rpartition(" ")[2])
    assert most > 0
    if problem.endswith("of one system"):
        systems["systems"] = 1
    at_most = systems | {problem.partition(":")[0].rpartition(".")[2]: most}
    assert 19 * 24 * at_most.get("number", 7) * at_most["systems"] <= 2**34


def test_each_system_has_a_prompt_in_memory(monkeypatch):
    monkeypatch.setattr("meanformer.simulation.requirements._memory", lambda: 2**16)
    prompt = {"points": [[1.0, 0.0, 0.0]] * 20}
    run(case(particles={"number": 7, "systems": 5}))
    with pytest.raises(CaseError, match="6 systems of 7 tokens with a prompt of 20 need") as caught:
        run(case(particles={"number": 7, "systems": 6}, prompt=prompt))
    assert caught.value.problems[0].endswith(f"must be at most {2**16 // (19 * 24 * 27)}")


@pytest.mark.parametrize(
    "tables, match",
    [
        ({"pde": {}}, "must be 1 with"),
        (
            ON_PLANE
            | {"space": {"kind": "euclidean", "dimension": 2, "rescaled": True}}
            | {"attention": {"beta": 1.0, "random_values": {"seed": 0, "duration": 1.0}}},
            "must be 1 with space.rescaled",
        ),
    ],
)
def test_what_is_refused(tables, match):
    with pytest.raises(CaseError, match=match) as caught:
        case(**tables)
    assert caught.value.problems[0].startswith("particles.systems: 5 is not allowed")
