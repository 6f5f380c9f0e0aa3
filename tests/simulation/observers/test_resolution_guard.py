"""The guard of the resolution: when it warns, and whether the mesh that it names would do."""

import json

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.scripts.main import main
from meanformer.simulation import Case, run
from meanformer.simulation.observers.resolution_guard import Need, ResolutionGuard, find_need
from meanformer.simulation.output.tables import Table

COMM = MPI.COMM_WORLD

CIRCLE = {
    "space": {"dimension": 2},
    "attention": {"beta": 4.0},
    "initial": {"kind": "von-mises-fisher", "mean": [0.6, 0.8], "concentration": 8.0},
    "time": {"end": 1.0, "sample_every": 0.25},
    "output": {"fields": ["none"]},
}
SPHERE = CIRCLE | {
    "space": {"dimension": 3},
    "initial": {"kind": "von-mises-fisher", "mean": [0.0, 0.6, 0.8], "concentration": 8.0},
    "time": {"end": 0.5, "sample_every": 0.25},
}
LINE = CIRCLE | {
    "space": {"kind": "euclidean", "dimension": 1},
    "attention": {"beta": 2.0, "value": -1.0},
    "initial": {"kind": "gaussian", "mean": [0.3], "covariance": 1.0},
    "pde": {"half_width": 8.0},
    "time": {"end": 1.0, "sample_every": 0.5},
}
PLANE = CIRCLE | {
    "space": {"kind": "euclidean", "dimension": 2},
    "attention": {"beta": 2.0, "value": -1.0},
    "initial": {"kind": "gaussian", "mean": [0.3, 0.0], "covariance": [[1.0, 0.0], [0.0, 0.6]]},
    "pde": {"half_width": 5.0},
    "time": {"end": 0.2},
}


def case(data, degree, refinement, **pde):
    pde = data.get("pde", {}) | {"degree": degree, "refinement": refinement} | pde
    return Case.from_dict(data | {"pde": pde})


def columns(shares, halvings, largest):
    times = 0.5 * np.arange(len(shares))
    return {"t": times, "resolution": shares, "halvings": halvings, "max": largest}


class TestNeed:
    def test_of_the_worst_sample(self):
        found = find_need(columns([0.0, 0.3, 0.5, 0.2], [0, 1, 3, 1], [1, 2, 4, 8]), 2)
        assert found == Need(3)

    @pytest.mark.parametrize("dimension, halvings", [(1, 1 + 3), (2, 1 + 2)])
    def test_of_clusters_that_go_on_to_shrink(self, dimension, halvings):
        # They double in density, 1 halving or half of one, in a sample's time, and three pass.
        table = columns([0.0, 0.2, 0.7, 1.0, 0.9, 0.1], [0, 1, 1, 2, 2, 0], [1, 2, 3, 3, 3, 3])
        assert find_need(table, dimension) == Need(halvings, seen=0.5)
        assert find_need(table) == Need(2, at_least=True)

    def test_is_no_less_than_what_jumps_say(self):
        table = columns([0.0, 0.0, 1.0], [0, 0, 3], [1.0, 1.01, 2.0])
        assert find_need(table, 1) == Need(3, seen=0.5)

    @pytest.mark.parametrize("shares", [[0.9, 0.9], [0.2, 0.9]])
    def test_of_what_was_narrow_from_the_start(self, shares):
        assert find_need(columns(shares, [2, 2], [1, 2]), 1) == Need(2, at_least=True)

    def test_of_a_density_that_does_not_sharpen(self):
        assert find_need(columns([0.0, 0.2, 0.6], [0, 1, 1], [2, 1, 1]), 1).at_least

    def test_of_less_than_halvings_are_counted_for(self):
        found = find_need(columns([0.0, 0.07], [0, 0], [1, 2]), 1, allowed=0.05)
        assert found == Need(1, at_least=True)

    def test_of_a_table_that_an_older_version_began(self):
        assert find_need(columns([0.2, 0.2], [np.nan, 2], [1, 2])) == Need(2)
        assert find_need(columns([0.2, 0.0], [np.nan, 0], [1, 2])) == Need(1)


@pytest.mark.parametrize(
    "data, degree, refinement, needed",
    [
        (CIRCLE, 1, 1, 3),  # clusters shrink for longer than jumps tell
        (CIRCLE, 1, 2, 3),
        (CIRCLE, 2, 1, 2),
        (SPHERE, 1, 2, 3),
        (LINE, 1, 5, 6),
        (PLANE, 2, 3, 4),
    ],
)
def test_the_mesh_that_it_names_resolves_the_density(data, degree, refinement, needed):
    (warning,) = run(case(data, degree, refinement)).summary["warnings"]
    assert f"pde.refinement = {needed} should" in warning
    better = run(case(data, degree, needed))
    assert better.summary["warnings"] == [] and better.pde["resolution"].max() <= 0.1
    assert run(case(data, degree, needed - 1)).summary["warnings"]


@pytest.mark.mpi
def test_says_how_bad_it_was_and_when(shared_tmp_path):
    result = run(case(CIRCLE, 1, 2), shared_tmp_path / "run")
    (warning,) = result.summary["warnings"]
    shares = result.pde["resolution"]
    first = result.pde["t"][np.flatnonzero(shares > 0.1)[0]]
    start = f"density: the mesh does not resolve {shares.max():.0%} of the mass at t = 1, "
    assert warning.startswith(f"{start}first above 10% at t = {first:g}; pde.refinement")
    assert COMM.allgather(warning) == [warning] * COMM.size
    COMM.barrier()  # rank 0 writes it last
    written = json.loads((shared_tmp_path / "run/summary.json").read_text())
    assert written["warnings"] == [warning]


def test_says_how_bad_it_still_is():
    smoother = LINE | {"attention": {"beta": 0.0, "value": 1.0}, "noise": {"temperature": 0.2}}
    smoother |= {"initial": {"kind": "gaussian", "mean": [0.2], "covariance": 0.09}}
    result = run(case(smoother, 1, 6))
    (warning,) = result.summary["warnings"]
    assert result.pde["resolution"][-1] < 0.1
    assert f" at t = 0, first above 10% at t = 0, {result.pde['resolution'][-1]:.0%} at" in warning


def test_knows_what_was_before_a_pause(tmp_path):
    whole = run(case(CIRCLE, 1, 2), tmp_path / "whole")
    first = CIRCLE | {"time": {"end": 0.75, "sample_every": 0.25}}
    run(case(first, 1, 2), tmp_path / "parts")
    parts = run(case(CIRCLE, 1, 2), tmp_path / "parts", resume=True)
    assert parts.summary["warnings"] == whole.summary["warnings"]


def test_says_nothing_before_the_first_sample():
    table = Table(columns={"t": [0.0], "resolution": [0.4], "max": [1.0]})
    assert ResolutionGuard(Table(), case(CIRCLE, 1, 2)).warnings() == []
    assert ResolutionGuard(table, case(CIRCLE, 1, 2)).warnings() == []


def test_the_message_of_a_run_that_it_stops():
    result = run(case(CIRCLE, 1, 2, largest_unresolved=0.15))
    assert result.status == "stopped" and result.summary["warnings"] == []
    assert result.summary["reason"].endswith(
        "more than pde.largest_unresolved = 0.15; pde.refinement = 3 should resolve it"
    )


def test_the_message_of_a_run_that_allows_less_than_halvings_are_counted_for():
    result = run(case(CIRCLE, 1, 2, largest_unresolved=0.05))
    assert result.summary["reason"].endswith("= 0.05; it takes pde.refinement = 3 or more")


def test_what_no_mesh_resolves():
    late = CIRCLE | {"time": {"end": 12.0, "sample_every": 0.25}}
    (warning,) = run(case(late, 1, 1)).summary["warnings"]
    assert "(more than 12, the most there is) should, as fast as it sharpens at t = " in warning
    assert warning.endswith("clusters that shrink exponentially outrun any fixed mesh")


def test_what_jumps_do_not_tell():
    narrow = PLANE | {"initial": {"kind": "gaussian", "mean": [0.0, 0.0], "covariance": 0.06}}
    (warning,) = run(case(narrow, 2, 4)).summary["warnings"]
    assert "it takes pde.refinement = " in warning and " or more: jumps" in warning
    assert "exponentially" not in warning


def test_a_box_beyond_the_finest_mesh_may_be_smaller():
    narrow = LINE | {"initial": {"kind": "gaussian", "mean": [0.0], "covariance": 1.5e-3}}
    narrow |= {"time": {"end": 1e-3}}
    (warning,) = run(case(narrow, 1, 12, half_width=90.0)).summary["warnings"]
    assert (
        "pde.refinement = 13 (more than 12, the most there is; "
        "or 12 and pde.half_width = 45, if that holds the mass)" in warning
    )


def test_a_mesh_file(tmp_path):
    nodes = np.linspace(-8, 8, 33).tolist()
    lines = ["$MeshFormat", "4.1 0 8", "$EndMeshFormat", "$Nodes", "1 33 1 33", "1 1 0 33"]
    lines += [*map(str, range(1, 34)), *(f"{x!r} 0 0" for x in nodes)]
    lines += ["$EndNodes", "$Elements", "1 32 1 32", "1 1 1 32"]
    lines += [f"{i} {i} {i + 1}" for i in range(1, 33)]
    (tmp_path / "line.msh").write_text("\n".join([*lines, "$EndElements", ""]))
    data = LINE | {"pde": {"mesh": str(tmp_path / "line.msh"), "degree": 1}}
    (warning,) = run(Case.from_dict(data)).summary["warnings"]
    assert "a mesh of cells 2 times smaller should resolve it" in warning


@pytest.mark.mpi
def test_the_command_repeats_it_at_the_end(shared_tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(shared_tmp_path)
    if COMM.rank == 0:
        (shared_tmp_path / "circle.toml").write_text(case(CIRCLE, 1, 2).to_toml())
    COMM.barrier()
    assert main(["solve", "circle.toml", "--output", "run"]) == 0
    err = capfd.readouterr().err
    lines = [line for line in err.splitlines() if "does not resolve" in line]
    if COMM.rank == 0:
        assert len(lines) == 2 and "the column 'resolution'" in lines[0]
        assert lines[1].startswith("warning: density: the mesh does not resolve")
        assert "pde.refinement = 3 should" in lines[1]
    else:
        assert not lines
