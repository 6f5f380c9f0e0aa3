"""Whole runs on the circle and in R^d, with noise, boundaries and meshes from files."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention.exact import exact_solution
from meanformer.simulation import Case, CaseError, run
from meanformer.simulation.builders.model import build_model, initial_measure

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
    model = build_model(case)
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
        reason = result.summary["reason"]
        assert reason.endswith("pde.largest_outflow = 0.02; a larger box would hold it")
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


def msh(path, points, cells):
    """Write straight cells in gmsh's format."""
    dimension = len(cells[0]) - 1
    lines = ["$MeshFormat", "4.1 0 8", "$EndMeshFormat", "$Nodes"]
    lines += [f"1 {len(points)} 1 {len(points)}", f"1 1 0 {len(points)}"]
    lines += [str(i + 1) for i in range(len(points))]
    lines += [" ".join(map(repr, map(float, x))) for x in points]
    lines += ["$EndNodes", "$Elements", f"1 {len(cells)} 1 {len(cells)}"]
    lines.append(f"{dimension} 1 {[1, 2, 4][dimension - 1]} {len(cells)}")
    lines += [f"{k} " + " ".join(str(i + 1) for i in cell) for k, cell in enumerate(cells, 1)]
    path.write_text("\n".join([*lines, "$EndElements", ""]))
    return path


def line(path, width=6.0, count=24, joined=True):
    """A line of cells; unless it is joined, its halves share no node."""
    nodes = np.linspace(-width, width, count + 1)
    first = np.arange(count)
    if not joined:
        nodes = np.insert(nodes, count // 2, 0.0)
        first[count // 2 :] += 1
    points = np.column_stack([nodes, 0 * nodes, 0 * nodes])
    return msh(path, points, np.column_stack([first, first + 1]).tolist())


class TestMeshFile:
    def case(self, path, dimension=1, **pde):
        return Case.from_dict(normal(dimension, pde={"degree": 2, "mesh": str(path)} | pde))

    def test_gives_what_the_box_gives(self, tmp_path):
        path = line(tmp_path / "line.msh", 7.0, 32)
        wanted = run(Case.from_dict(normal())).pde
        case = Case.from_dict(normal(pde={"degree": 2, "mesh": path.name}), tmp_path)
        (tmp_path / "case.toml").write_text(case.to_toml())
        assert Case.load(tmp_path / "case.toml").pde == case.pde
        got = run(case).pde
        for name in ("mass", "mean_1", "cov_11", "energy"):
            assert np.allclose(got[name], wanted[name], rtol=1e-10, atol=1e-12)

    def test_that_is_none(self, tmp_path):
        (tmp_path / "text.msh").write_text("no mesh")
        case = Case.from_dict(normal(pde={"mesh": "text.msh"}), tmp_path)
        with pytest.raises(CaseError, match=r"pde\.mesh"):
            run(case)

    @pytest.mark.mpi
    @pytest.mark.parametrize(
        ("z", "dimension", "message"),
        [
            ((0.7, 0.7, 0.7), 1, "is a planar mesh of triangles; must be a straight line"),
            ((0.7, 0.7, 0.7), 3, "is a planar mesh of triangles; must be a volume of tetrahedra"),
            ((0, 0.3, 0), 3, r"is a surface of triangles in R\^3; must be a volume"),
            ((0, 0.3, -1), 2, "has nodes with z from -1 to 0.3; must be a planar.* with one z, as"),
        ],
    )
    def test_that_is_of_another_kind(self, z, dimension, message, shared_tmp_path):
        path = shared_tmp_path / "triangle.msh"
        if COMM.rank == 0:
            msh(path, np.column_stack([[[0, 0], [1, 0], [0, 1]], z]), [(0, 1, 2)])
        COMM.barrier()
        with pytest.raises(CaseError, match=rf"pde\.mesh: .*{message}"):
            run(self.case(path, dimension))

    def test_that_is_a_line_where_a_plane_is_asked_for(self, tmp_path):
        path = line(tmp_path / "line.msh")
        with pytest.raises(CaseError, match="straight line of intervals; must be a planar mesh"):
            run(self.case(path, 2))

    def test_that_is_a_bent_line(self, tmp_path):
        path = msh(tmp_path / "bent.msh", [(0, 0, 5), (1, 0, 5), (2, 4, 5)], [(0, 1), (1, 2)])
        with pytest.raises(CaseError, match="nodes with y from 0 to 4; must be a straight line"):
            run(self.case(path))

    @pytest.mark.mpi
    def test_with_a_seam(self, shared_tmp_path, capfd):
        path = shared_tmp_path / "line.msh"
        if COMM.rank == 0:
            line(path, 7.0, 32, joined=False)
        COMM.barrier()
        case = Case.from_dict(normal(title="half", pde={"degree": 2, "mesh": str(path)}))
        result = run(case)
        coincide = "nodes at (0) coincide but are not joined"
        warning = f"half: warning: pde.mesh: {path}: {coincide}"
        assert capfd.readouterr().err.count(warning) == (1 if COMM.rank == 0 else 0)
        assert result.status == "stopped"
        reason = result.summary["reason"]
        assert reason.endswith(f"; pde.mesh has a seam: {coincide}, and mass can leave there")

    @pytest.mark.mpi
    def test_that_ends_too_soon(self, shared_tmp_path, capfd):
        path = shared_tmp_path / "line.msh"
        if COMM.rank == 0:
            line(path, 2.5, 20)
        COMM.barrier()
        case = normal(pde={"mesh": str(path)}, attention={"beta": 0.3}, time={"end": 1.0})
        reason = run(Case.from_dict(case)).summary["reason"]
        assert reason.endswith("; a mesh that reaches farther would hold it")
        assert "coincide" not in capfd.readouterr().err
