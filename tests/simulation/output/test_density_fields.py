"""Fields of the density: what files hold, against the density and attention themselves."""

import math
from xml.etree import ElementTree as ET

from mpi4py import MPI

import numpy as np
import pytest
import pyvista as pv
import ufl

from meanformer.attention import Attention, Euclidean, Sphere
from meanformer.attention.laws import LAWS
from meanformer.meshes import ball, box, circle, icosphere
from meanformer.pde import DensitySolver
from meanformer.pde.dg.flow import AttentionFlow
from meanformer.simulation.output import density_fields
from meanformer.simulation.output.density_fields import DensityFields
from meanformer.simulation.state import State

WORLD = MPI.COMM_WORLD
SINGLE = 3e-7  # fields but the density are in single precision

# Mesh, space, degree, its measure, error of the velocity between the nodes where it is evaluated,
# error of the area or volume that flat pieces of cells have.
CASES = {
    "line": (
        lambda: box(WORLD, half_width=2.0, cells=9, dimension=1),
        Euclidean(1),
        1,
        4.0,
        0,
        1e-14,
    ),
    "disk": (
        lambda: ball(WORLD, radius=1.0, cells=5, dimension=2, perturbation=0.2),
        Euclidean(2),
        2,
        np.pi,
        1e-4,
        3e-3,
    ),
    "box": (
        lambda: box(WORLD, half_width=1.0, cells=4, dimension=3, perturbation=0.2),
        Euclidean(3),
        1,
        8.0,
        0,
        1e-14,
    ),
    "circle": (
        lambda: circle(WORLD, cells=17, geometry_degree=2, perturbation=0.2),
        Sphere(2),
        2,
        math.tau,
        1e-4,
        3e-3,
    ),
    "sphere": (
        lambda: icosphere(WORLD, level=2, geometry_degree=2, perturbation=0.2),
        Sphere(3),
        2,
        2 * math.tau,
        1e-3,
        6e-3,
    ),
    "flat cells": (
        lambda: icosphere(WORLD, level=2, geometry_degree=1, perturbation=0.2),
        Sphere(3),
        1,
        2 * math.tau,
        0,
        0.03,
    ),
}
MODEL = Attention("softmax", beta=2.0, query=1.5, value=-0.5)


def tilted(domain):
    """A density that the elements hold exactly: coordinates are functions of theirs."""
    return 1 + 0.3 * ufl.SpatialCoordinate(domain)[0] / domain_size(domain)


def domain_size(domain):
    return WORLD.allreduce(float(np.abs(domain.geometry.x).max()), op=MPI.MAX)


def gathered(array):
    return np.concatenate(WORLD.allgather(array))


def written(solver, folder, formats=("vtu",)):
    fields = DensityFields(folder, solver, formats)
    fields.sample(State(WORLD, MODEL, density=solver))
    fields.close()
    return pv.read(folder / "density" / "00000.pvtu") if "vtu" in formats else None


@pytest.mark.mpi
@pytest.mark.parametrize("name", CASES)
def test_a_file_holds_each_cell_once_with_its_fields(name, shared_tmp_path):
    make, space, degree, measure, between, flat = CASES[name]
    domain = make()
    size = domain_size(domain)
    solver = DensitySolver(domain, MODEL, degree, tilted(domain))
    grid = written(solver, shared_tmp_path)
    cells = domain.topology.index_map(domain.topology.dim)
    assert grid.n_cells == cells.size_global

    # Whatever the rank of a cell: at its nodes there is what the formulas say.
    points = np.asarray(grid.points)
    expected = (1 + 0.3 * points[:, 0] / size) / solver.initial_mass
    assert np.abs(grid["density"] - expected).max() < 1e-13
    assert np.abs(grid["log10_density"] - np.log10(expected)).max() < 10 * SINGLE
    targets = space.retract(np.ascontiguousarray(points[:, : space.dimension]))
    field = MODEL.evaluate(targets, gathered(solver.points), gathered(solver.weights), space)
    error = np.abs(grid["velocity"][:, : space.dimension] - field.velocity).max()
    assert error < between + SINGLE
    assert not grid["velocity"][:, space.dimension :].any()
    assert np.abs(grid["log_Z"] - field.log_partition[0]).max() < between + 10 * SINGLE

    # Cells are of the shapes they claim: their pieces fill the domain.
    total = grid.integrate_data()
    size = total[{1: "Length", 2: "Area", 3: "Volume"}[domain.topology.dim]]
    assert abs(size[0] / measure - 1) < flat
    assert abs(total["density"][0] - 1) < flat


@pytest.mark.mpi
def test_a_rank_may_have_no_cells(shared_tmp_path):
    domain = box(WORLD, half_width=1.0, cells=2, dimension=1)
    solver = DensitySolver(domain, MODEL, 1, lambda x: np.full(len(x), 0.5))
    grid = written(solver, shared_tmp_path)
    assert grid.n_cells == 2
    assert grid["velocity"].shape == (6, 3)
    assert abs(grid.integrate_data()["density"][0] - 1) < 1e-14


@pytest.mark.mpi
@pytest.mark.parametrize("law", [law for law in LAWS if law != "softmax"])
def test_every_law_has_its_fields(law, shared_tmp_path):
    model = Attention(law, beta=1.5)
    domain = icosphere(WORLD, level=1, geometry_degree=1)
    solver = DensitySolver(domain, model, 1, tilted(domain))
    grid = written(solver, shared_tmp_path)
    targets = solver.space.retract(np.asarray(grid.points, dtype=float))
    # Sinkhorn's potentials belong to the measure: they are found by all of its points.
    arguments = gathered(solver.points), gathered(solver.weights), solver.space
    field = model.evaluate(targets, *arguments)
    assert np.abs(grid["velocity"] - field.velocity).max() < SINGLE
    if law in ("linear", "sigmoid", "hardmax"):
        assert "log_Z" not in grid.point_data
    else:
        assert np.abs(grid["log_Z"] - field.log_partition[0]).max() < 10 * SINGLE


def test_of_no_density_the_logarithm_is_that_of_the_floor(tmp_path):
    domain = box(WORLD, half_width=1.0, cells=4, dimension=2)
    right = ufl.conditional(ufl.gt(ufl.SpatialCoordinate(domain)[0], 0), 1.0, 0.0)
    solver = DensitySolver(domain, MODEL, 0, right)
    grid = written(solver, tmp_path)
    # Area 4, of which half has all the mass.
    assert sorted(set(grid["density"].round(12))) == [0.0, 0.5]
    levels = sorted(set(grid["log10_density"].round(5)))
    assert levels == pytest.approx([np.log10(1e-10 / 4), np.log10(0.5)], abs=1e-5)


@pytest.mark.parametrize("law", ["softmax", "sinkhorn"])
def test_looking_changes_no_step_and_costs_no_evaluation(law, tmp_path, monkeypatch):
    calls = []
    velocity = AttentionFlow.velocity
    monkeypatch.setattr(
        AttentionFlow, "velocity", lambda self, values: calls.append(1) or velocity(self, values)
    )

    def march(look):
        calls.clear()
        domain = circle(WORLD, cells=20, geometry_degree=2)
        solver = DensitySolver(domain, Attention(law, beta=2.0), 2, tilted(domain), step=0.05)
        for _ in range(3):
            look(solver)
            solver.step(1.0)
        return solver.values, len(calls)

    fields = {}
    values, count = march(lambda solver: None)
    seen, count_seen = march(
        lambda solver: fields.setdefault(solver, DensityFields(tmp_path, solver, ["vtu"])).sample(
            State(WORLD, MODEL, density=solver)
        )
    )
    assert np.array_equal(values, seen) and count == count_seen > 0


@pytest.mark.mpi
def test_an_error_of_one_rank_is_one_of_all_and_the_series_stays(shared_tmp_path, monkeypatch):
    domain = box(WORLD, half_width=1.0, cells=4, dimension=2)
    solver = DensitySolver(domain, MODEL, 1, tilted(domain))
    fields, state = DensityFields(shared_tmp_path, solver, ["vtu"]), State(WORLD, MODEL, solver)
    fields.sample(state)
    replace_file = density_fields.replace_file

    def full(path, *arguments, **options):
        if path.suffix == ".vtu" and WORLD.rank == WORLD.size - 1:
            raise OSError(28, "No space left on device", str(path))
        replace_file(path, *arguments, **options)

    monkeypatch.setattr(density_fields, "replace_file", full)
    with pytest.raises(OSError, match="No space left"):
        fields.sample(state)
    entries = ET.parse(shared_tmp_path / "density.pvd").findall(".//DataSet")
    assert [entry.attrib["file"] for entry in entries] == ["density/00000.pvtu"]
    assert not (shared_tmp_path / "density" / "00001.pvtu").exists()


@pytest.mark.mpi
def test_vtx_holds_the_same(shared_tmp_path):
    adios2 = pytest.importorskip("adios2")
    domain = icosphere(WORLD, level=2, geometry_degree=2, perturbation=0.2)
    solver = DensitySolver(domain, MODEL, 2, tilted(domain))
    grid = written(solver, shared_tmp_path, ["vtu", "vtx"])
    if WORLD.rank > 0:
        return
    count, fields = 0, {name: [] for name in ("density", "log10_density", "velocity", "log_Z")}
    # Each rank wrote a block: ``read(name)`` alone gives the first.
    with adios2.FileReader(str(shared_tmp_path / "density.bp")) as file:
        blocks = len(file.all_blocks_info("connectivity")[0])
        assert blocks == WORLD.size
        for block in range(blocks):
            count += len(file.read("connectivity", block_id=block))
            for name, parts in fields.items():
                parts.append(file.read(name, block_id=block))
    assert count == grid.n_cells
    for name, parts in fields.items():
        columns = grid[name].reshape(grid.n_points, -1)
        values = np.concatenate([part.reshape(-1, columns.shape[1]) for part in parts])
        # In another order of cells and nodes.
        assert np.abs(np.sort(values, axis=0) - np.sort(columns, axis=0)).max() < 10 * SINGLE
