"""Whole runs: results, files, rank independence, and runs that stop themselves."""

import csv
import json
import tomllib
import xml.etree.ElementTree as ET

from mpi4py import MPI

import numpy as np
import pytest
import pyvista as pv

from meanformer.attention import Attention, Sphere
from meanformer.particles import TokenSolver
from meanformer.simulation import Case, CaseError, run
from meanformer.simulation.controller import Observer, RunStopped, integrate, sample_times
from meanformer.simulation.observers.guards import MassGuard
from meanformer.simulation.state import State

SMALL = """
[attention]
beta = 4.0
[initial]
kind = "mixture"
[[initial.components]]
kind = "von-mises-fisher"
mean = [0.0, 0.0, 1.0]
concentration = 8.0
weight = 0.6
[[initial.components]]
kind = "von-mises-fisher"
mean = [1.0, 0.0, 0.0]
concentration = 8.0
weight = 0.4
[pde]
refinement = 2
[particles]
number = 500
[time]
end = 0.5
sample_every = 0.1
"""


def small(**tables) -> Case:
    data = tomllib.loads(SMALL)
    for name, keys in tables.items():
        if keys is None:
            del data[name]
        else:
            data[name] = data.get(name, {}) | keys
    return Case.from_dict(data)


@pytest.fixture
def folder(shared_tmp_path):
    return shared_tmp_path / "run"


def read(path):
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


MOMENTS = [f"mean_{i}" for i in (1, 2, 3)] + [f"cov_{ij}" for ij in (11, 12, 13, 22, 23, 33)]
HARMONICS = [f"harmonic_{k}" for k in range(1, 9)]
MORE_OF_DENSITY = ["free_energy", "dissipation", "resolution", "halvings"]
MORE_OF_TOKENS = ["spread", "clusters", "largest_cluster", "boolean_rows", "rank"]
COLUMNS = ["t", "mass", "min", "max", "energy", "entropy", *MOMENTS, *HARMONICS]


@pytest.mark.mpi
def test_a_run_writes_the_files_of_the_contract(folder):
    result = run(small(), output=folder)
    assert result.status == "done"
    MPI.COMM_WORLD.barrier()
    for stem, columns in (("pde", result.pde), ("particles", result.particles)):
        table = read(folder / f"{stem}.csv")
        more = MORE_OF_DENSITY if stem == "pde" else MORE_OF_TOKENS
        assert list(table) == COLUMNS + more == list(columns)
        assert [float(t) for t in table["t"]] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
        assert np.array_equal([float(v) for v in table["energy"]], columns["energy"])
    assert set(read(folder / "particles.csv")["min"]) == {""}
    assert {"t", "harmonic", "harmonic_noise", "w1"} <= set(read(folder / "compare.csv"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == result.summary
    assert summary["status"] == "done" and summary["time"] == 0.5
    assert summary["ranks"] == MPI.COMM_WORLD.size
    assert summary["final"]["pde"]["mean_1"] == result.pde["mean_1"][-1]
    assert {"density", "density.attention", "density.residual"} <= set(summary["wall_time"])
    assert Case.load(folder / "case.toml").pde == small().pde


@pytest.mark.mpi
def test_tables_do_not_depend_on_the_number_of_ranks():
    alone = run(small(), comm=MPI.COMM_SELF)
    together = run(small(), comm=MPI.COMM_WORLD)
    for stem in ("pde", "particles"):
        for name, expected in getattr(alone, stem).items():
            found = getattr(together, stem)[name]
            if np.all(np.isnan(expected)):  # min, max and entropy of point masses
                assert np.all(np.isnan(found)), name
            else:
                assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max(), name


def test_moments_are_those_of_the_initial_measure():
    result = run(small(time={"end": 1e-3}, pde={"refinement": 3}, particles={"number": 100_000}))
    # The mean of von Mises-Fisher in d = 3 is coth(c) - 1/c along its axis.
    length = 1 / np.tanh(8.0) - 1 / 8.0
    expected = np.array([0.4 * length, 0.0, 0.6 * length])
    for columns, tolerance in ((result.pde, 1e-4), (result.particles, 5e-3)):
        mean = [columns[f"mean_{i}"][0] for i in (1, 2, 3)]
        assert np.abs(mean - expected).max() < tolerance
        second = sum(columns[f"cov_{i}{i}"][0] for i in (1, 2, 3)) + np.square(mean).sum()
        assert abs(second - 1) < 1e-12
        # harmonic_1 is the length of the mean: sqrt(iint <x, y>).
        assert abs(columns["harmonic_1"][0] - np.linalg.norm(mean)) < 1e-10


def test_energy_grows_and_mass_is_kept():
    result = run(small())
    for columns in (result.pde, result.particles):
        assert np.all(np.diff(columns["energy"]) > 0)
        assert np.abs(columns["mass"] - 1).max() < 1e-13
    assert result.pde["min"].min() >= 0.0


def test_one_solver_alone_needs_no_comparison():
    density = run(small(particles=None))
    tokens = run(small(pde=None))
    assert density.particles == {} and tokens.pde == {} and tokens.compare == {}
    both = run(small())
    assert np.array_equal(density.pde["energy"], both.pde["energy"])
    assert np.array_equal(tokens.particles["energy"], both.particles["energy"])


def test_given_tokens_start_where_they_are_given(tmp_path):
    points = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
    np.save(tmp_path / "tokens.npy", points)
    data = {
        "attention": {"beta": 1.0},
        "initial": {"kind": "tokens", "file": "tokens.npy"},
        "particles": {},
        "time": {"end": 0.1},
    }
    result = run(Case.from_dict(data, folder=tmp_path))
    assert np.allclose(
        [result.particles[f"mean_{i}"][0] for i in (1, 2, 3)], [1 / 3, 1 / 3, -1 / 3]
    )


def test_fields_open_and_hold_the_run(folder):
    result = run(small(), output=folder)
    # Tokens: what ParaView reads, by the same library.
    reader = pv.get_reader(folder / "tokens.pvd")
    assert reader.time_values == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    reader.set_active_time_value(0.5)
    cloud = reader.read()[0]
    assert cloud.n_points == 500
    assert np.allclose(np.linalg.norm(cloud.points, axis=1), 1, atol=1e-6)
    entries = ET.parse(folder / "tokens.pvd").findall(".//DataSet")
    assert all((folder / entry.attrib["file"]).exists() for entry in entries)
    assert cloud["number"].tolist() == list(range(500))
    tokens = result.state.tokens
    assert np.array_equal(cloud["velocity"], tokens.velocity())
    # The density, at the same times.
    reader = pv.get_reader(folder / "density.pvd")
    assert reader.time_values == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    reader.set_active_time_value(0.5)
    grid = reader.read()[0]
    assert grid["density"].max() == pytest.approx(result.pde["max"][-1], rel=1e-12)
    assert not (folder / "density.bp").exists()


@pytest.mark.mpi
def test_fields_in_no_format_are_not_written(folder):
    run(small(time={"end": 0.1}, output={"fields": ["none"]}), output=folder)
    names = {path.name for path in folder.iterdir()}
    assert not names & {"density", "density.pvd", "density.bp", "tokens", "tokens.pvd"}


@pytest.mark.mpi
def test_without_output_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(small())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.mpi
def test_a_former_run_is_kept(folder):
    case = small(time={"end": 0.1})
    for _ in range(3):
        run(case, output=folder)
    MPI.COMM_WORLD.barrier()
    kept = sorted(path.name for path in folder.parent.iterdir())
    assert kept == ["run", "run.1", "run.2"]


@pytest.mark.mpi
def test_refuses_a_folder_with_foreign_files(folder):
    if MPI.COMM_WORLD.rank == 0:
        folder.mkdir()
        (folder / "thesis.tex").write_text("precious")
    MPI.COMM_WORLD.barrier()
    with pytest.raises(CaseError, match=r"output\.directory"):
        run(small(), output=folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


@pytest.mark.mpi
def test_a_run_that_overflows_stops_itself(folder):
    # e^{beta <x,y>} exceeds double precision at beta = 800.
    result = run(small(attention={"law": "unnormalised", "beta": 800.0}, pde=None), output=folder)
    assert result.status == "stopped"
    assert "double precision" in result.summary["reason"]
    MPI.COMM_WORLD.barrier()
    assert json.loads((folder / "summary.json").read_text())["status"] == "stopped"


def tokens_that_break(change):
    """A state whose token solver does something wrong in its first step."""
    points = Sphere(3).retract(np.random.default_rng(0).normal(size=(10, 3)))
    solver = TokenSolver(points, Attention(), Sphere(3), MPI.COMM_WORLD)
    step = solver.step

    def broken(until):
        step(until)
        change(solver)

    solver.step = broken
    return State(MPI.COMM_WORLD, Attention(), tokens=solver)


@pytest.mark.mpi
def test_guard_stops_at_values_that_are_not_finite():
    def spoil(solver):
        if solver.comm.rank == 0:
            solver.points[3] = np.nan

    with pytest.raises(RunStopped, match="tokens: values are not finite"):
        integrate(tokens_that_break(spoil), [1.0], [MassGuard()])


@pytest.mark.mpi
def test_guard_stops_when_mass_is_lost():
    def lose(solver):
        solver.weights *= 1 - 1e-6

    with pytest.raises(RunStopped, match="tokens: the mass is"):
        integrate(tokens_that_break(lose), [1.0], [MassGuard()])


@pytest.mark.parametrize(
    "end, every, expected",
    [
        (0.4, 0.1, [0.0, 0.1, 0.2, 0.3, 0.4]),
        (0.25, 0.1, [0.0, 0.1, 0.2, 0.25]),
        (1.0, 5.0, [0.0, 1.0]),
        (0.3, 0.1, [0.0, 0.1, 0.2, 0.3]),
    ],
)
def test_sample_times(end, every, expected):
    assert sample_times(end, every) == expected


def test_a_velocity_of_zero_keeps_everything_where_it_is():
    result = run(small(attention={"value": 0}))
    assert result.status == "done"
    for columns in (result.pde, result.particles):
        assert np.ptp(columns["energy"]) < 1e-14 * columns["energy"][0]


def test_softmax_goes_on_where_the_energy_is_too_large_to_write(folder):
    case = small(attention={"beta": 800.0}, pde=None, time={"end": 0.002, "sample_every": 0.001})
    result = run(case, output=folder)
    assert result.status == "done"
    assert np.all(np.isinf(result.particles["energy"]))
    assert json.loads((folder / "summary.json").read_text())["final"]["particles"]["energy"] is None


@pytest.mark.mpi
@pytest.mark.parametrize(
    "initial", [{"concentration": 1e9}, {"concentration": 1e3}], ids=["no mass", "wrong mass"]
)
def test_refuses_a_start_that_the_mesh_does_not_resolve(initial, folder):
    cap = {"kind": "von-mises-fisher", "mean": [0.1, 0.2, 1.0]} | initial
    data = {
        "attention": {"beta": 1.0},
        "initial": cap,
        "pde": {"refinement": 1},
        "time": {"end": 1.0},
    }
    with pytest.raises(CaseError, match=r"initial: .* pde\.refinement"):
        run(Case.from_dict(data), output=folder)
    assert not folder.exists()


@pytest.mark.mpi
@pytest.mark.parametrize("table", ["pde", "particles"])
@pytest.mark.parametrize(
    "attention, time, reason",
    [
        ({"law": "unnormalised", "beta": 100.0}, {}, "too small"),
        ({"law": "unnormalised", "beta": 250.0}, {"step": 0.1}, ""),
    ],
    ids=["would never end", "blows up"],
)
def test_a_hopeless_run_stops_itself(attention, time, reason, table):
    other = {"pde": "particles", "particles": "pde"}[table]
    result = run(small(attention=attention, time=time, **{other: None}))
    if reason or table == "pde":
        assert result.status == "stopped"
    assert reason in (result.summary["reason"] or "")


class Spectator(Observer):
    """Notes the times of samples, and how many steps it has seen."""

    def __init__(self):
        self.times, self.steps, self.closed = [], 0, False

    def sample(self, state):
        self.times.append(state.time)

    def stepped(self, state, name, start):
        self.steps += 1

    def close(self):
        self.closed = True


@pytest.mark.mpi
def test_observers_of_the_caller_see_every_sample_and_step():
    spectator = Spectator()
    result = run(small(pde=None, particles={"integrator": "rk4"}), observers=[spectator])
    assert spectator.times == result.particles["t"].tolist()
    assert spectator.steps == sum(result.summary["steps"].values()) > 0
    assert spectator.closed
