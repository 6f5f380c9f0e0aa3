"""Whole runs on the circle and in R^d, with noise, boundaries and meshes from files."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention.exact import exact_solution
from meanformer.simulation import Case, CaseError, run
from meanformer.simulation.build_initial import initial_measure
from meanformer.simulation.build_model import build_model

COMM = MPI.COMM_WORLD


def normal(dimension=1, **tables):
    """A normal distribution that contracts, in R^d."""
    return {
        "space": {"kind": "euclidean", "dimension": dimension},
        "attention": {"beta": 0.5, "value": -1.0},
        "initial": {"kind": "gaussian", "mean": [0.3] * dimension, "covariance": 0.9},
        "pde": {"degree": 2, "refinement": 5, "half_width": 7.0},
        "time": {"end": 0.3, "sample_every": 0.1},
        "output": {"fields": ["none"]},
    } | tables


def caps(**tables):
    """Two caps on the circle."""
    parts = [
        {"kind": "von-mises-fisher", "mean": [1.0, 0.0], "concentration": 4.0},
        {"kind": "von-mises-fisher", "mean": [-0.6, 0.8], "concentration": 6.0},
    ]
    return {
        "space": {"dimension": 2},
        "attention": {"beta": 3.0},
        "initial": {"kind": "mixture", "components": parts},
        "pde": {"degree": 2, "refinement": 2},
        "time": {"end": 0.3, "sample_every": 0.1},
        "output": {"fields": ["none"]},
    } | tables


@pytest.mark.mpi
@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_a_normal_distribution_follows_the_exact_solution(temperature):
    case = Case.from_dict(normal(noise={"temperature": temperature}))
    result = run(case)
    model = build_model(case.attention, 1, case.time.end)
    exact = exact_solution(model, initial_measure(case.initial, 1), 0.3, temperature)
    mean, covariance = exact.moments()
    assert result.pde["mean_1"][-1] == pytest.approx(mean[0], abs=1e-6)
    assert result.pde["cov_11"][-1] == pytest.approx(covariance[0, 0], abs=1e-6)
    assert np.all(result.pde["outflow"] < 1e-12)
    assert np.all(np.abs(result.pde["mass"] - 1) < 1e-13)
    assert np.all(result.pde["min"] >= 0)
    # F = kappa H - E falls at the rate of the dissipation.
    t, rates = result.pde["t"], result.pde["dissipation"]
    simpson = (t[2] - t[0]) / 6 * (rates[0] + 4 * rates[1] + rates[2])
    fall = result.pde["free_energy"][0] - result.pde["free_energy"][2]
    assert fall == pytest.approx(simpson, rel=1e-2)


@pytest.mark.mpi
def test_both_solvers_in_the_plane():
    data = normal(2, pde={"refinement": 4, "half_width": 6.0}, particles={"number": 400})
    case = Case.from_dict(data)
    assert case.compare.metrics == ("w1",)
    result = run(case)
    assert set(result.compare) == {"t", "w1", "w1_noise", "w1_subsample"}
    # Independent tokens: as far off as another sample.
    assert np.all(result.compare["w1"] < 2 * result.compare["w1_noise"])
    for column in ("mean_1", "cov_22"):
        assert abs(result.pde[column][-1] - result.particles[column][-1]) < 0.2


class TestBoundary:
    def narrow(self, **pde):
        pde = {"degree": 2, "refinement": 5, "half_width": 2.5} | pde
        attention = {"beta": 0.3}
        return Case.from_dict(normal(pde=pde, attention=attention) | {"time": {"end": 1.0}})

    @pytest.mark.mpi
    def test_too_much_outflow_stops_the_run(self):
        result = run(self.narrow(largest_outflow=0.02))
        assert result.status == "stopped"
        assert "pde.largest_outflow = 0.02" in result.summary["reason"]
        assert 0.02 < result.state.density.outflow < 0.1

    def test_outflow_that_is_allowed(self):
        result = run(self.narrow(largest_outflow=1.0))
        assert result.status == "done"
        assert np.all(np.diff(result.pde["outflow"]) > 0)
        assert np.allclose(result.pde["mass"] + result.pde["outflow"], 1, atol=1e-13)

    def test_nothing_leaves_a_closed_box(self):
        result = run(self.narrow(boundary="no-flux"))
        assert result.status == "done"
        assert np.all(result.pde["outflow"] == 0)
        assert np.allclose(result.pde["mass"], 1, atol=1e-13)


def test_the_covariance_is_that_of_what_is_left():
    # Much of the mass has left, and the mean of what is left is not the integral of x.
    data = normal(pde={"refinement": 5, "half_width": 1.5, "largest_outflow": 1.0})
    data["attention"], data["time"] = {"beta": 1.0}, {"end": 1.2}
    data["initial"] = {"kind": "gaussian", "mean": [0.3], "covariance": 0.15}
    result = run(Case.from_dict(data))
    mass = result.pde["mass"][-1]
    assert mass < 0.8
    state = result.state.density
    mean = float(state.weights @ state.points[:, 0]) / mass
    wanted = float(state.weights @ (state.points[:, 0] - mean) ** 2)
    assert result.pde["cov_11"][-1] == pytest.approx(wanted, rel=1e-12)


def test_small_lengths_are_not_round_off():
    data = normal(pde={"refinement": 5, "half_width": 7e-8})
    data["initial"] = {"kind": "gaussian", "mean": [3e-9], "covariance": 1e-16}
    result = run(Case.from_dict(data | {"time": {"end": 0.01}}))
    assert result.pde["cov_11"][0] == pytest.approx(1e-16, rel=1e-3)
    assert result.pde["mean_1"][0] == pytest.approx(3e-9, rel=1e-3)


class TestResolution:
    @pytest.mark.mpi
    def test_stops_where_asked_to(self, shared_tmp_path):
        folder = shared_tmp_path / "run"
        data = caps(pde={"degree": 1, "refinement": 2, "largest_unresolved": 0.5})
        data["time"] = {"end": 5.0, "sample_every": 0.25}
        result = run(Case.from_dict(data), folder)
        assert result.status == "stopped"
        assert "pde.largest_unresolved = 0.5" in result.summary["reason"]
        assert 0 < result.pde["t"][-1] < 5.0
        assert np.all(result.pde["resolution"][:-1] <= 0.5)
        assert result.pde["resolution"][-1] > 0.5
        COMM.barrier()  # rank 0 writes it last
        assert (folder / "summary.json").exists()

    def test_warns_once(self, capfd):
        data = caps(pde={"degree": 1, "refinement": 1})
        data["time"] = {"end": 1.0, "sample_every": 0.1}
        assert run(Case.from_dict(data)).status == "done"
        assert capfd.readouterr().err.count("does not resolve") == (1 if COMM.rank == 0 else 0)


@pytest.mark.mpi
def test_harmonics_on_the_circle():
    start = {"kind": "harmonic", "degree": 3, "amplitude": 0.4}
    result = run(Case.from_dict(caps(initial=start) | {"time": {"end": 0.01}}))
    # 1 + 0.4 cos 3 theta: coefficient 0.4 / sqrt(2) of sqrt(2) cos 3 theta, over sqrt(2).
    for k in range(1, 9):
        wanted = 0.2 if k == 3 else 0.0
        assert result.pde[f"harmonic_{k}"][0] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.mpi
@pytest.mark.parametrize("data", [caps(noise={"temperature": 0.1}), normal()], ids=["noise", "R^1"])
def test_a_resumed_run_is_the_same(shared_tmp_path, data):
    folder = shared_tmp_path
    data = data | {"time": {"end": 0.2, "sample_every": 0.1}}
    longer = data | {"time": {"end": 0.4, "sample_every": 0.1}}
    whole = run(Case.from_dict(longer), folder / "whole")
    run(Case.from_dict(data), folder / "parts")
    parts = run(Case.from_dict(longer), folder / "parts", resume=True)
    assert whole.pde.keys() == parts.pde.keys()
    for name, values in whole.pde.items():
        assert np.array_equal(values, parts.pde[name]), name


class TestMeshFile:
    def msh(self, folder, width=6.0, count=24):
        """A line in gmsh's format."""
        nodes = np.linspace(-width, width, count + 1)
        lines = ["$MeshFormat", "4.1 0 8", "$EndMeshFormat", "$Nodes"]
        lines += [f"1 {count + 1} 1 {count + 1}", f"1 1 0 {count + 1}"]
        lines += [str(i + 1) for i in range(count + 1)] + [f"{x!r} 0 0" for x in nodes.tolist()]
        lines += ["$EndNodes", "$Elements", f"1 {count} 1 {count}", f"1 1 1 {count}"]
        lines += [f"{i + 1} {i + 1} {i + 2}" for i in range(count)]
        path = folder / "line.msh"
        path.write_text("\n".join([*lines, "$EndElements", ""]))
        return path

    def test_gives_what_the_box_gives(self, tmp_path):
        path = self.msh(tmp_path, 7.0, 32)
        wanted = run(Case.from_dict(normal())).pde
        case = Case.from_dict(normal(pde={"degree": 2, "mesh": path.name}), tmp_path)
        (tmp_path / "case.toml").write_text(case.to_toml())
        assert Case.load(tmp_path / "case.toml").pde == case.pde
        got = run(case).pde
        for name in ("mass", "mean_1", "cov_11", "energy"):
            assert np.allclose(got[name], wanted[name], rtol=1e-10, atol=1e-12)

    def test_of_another_dimension(self, tmp_path):
        path = self.msh(tmp_path)
        case = Case.from_dict(normal(2, pde={"mesh": str(path)}))
        with pytest.raises(CaseError, match=r"pde\.mesh.*must be 2"):
            run(case)

    def test_that_is_none(self, tmp_path):
        (tmp_path / "text.msh").write_text("no mesh")
        case = Case.from_dict(normal(pde={"mesh": "text.msh"}), tmp_path)
        with pytest.raises(CaseError, match=r"pde\.mesh"):
            run(case)
