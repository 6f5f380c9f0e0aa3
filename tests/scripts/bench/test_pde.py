"""The command ``meanformer bench pde``: its table, its files, its peer and the truth."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import iv

from meanformer.attention import Attention, Sphere
from meanformer.scripts.bench.pde import benchmark, circle, density
from meanformer.scripts.bench.pde.circle import LaxFriedrichs, fourier_solution
from meanformer.scripts.main import main
from meanformer.simulation import Case
from meanformer.simulation.builders.model import initial_measure

CIRCLE = "S¹: the same accuracy"
TWO_RANKS = bool(shutil.which("mpirun")) and len(os.sched_getaffinity(0)) > 1


def bench(*arguments):
    return main(["bench", "pde", *map(str, arguments)])


@pytest.fixture
def briefly(monkeypatch):
    """Least numbers of steps and repetitions."""
    monkeypatch.setattr(benchmark, "_SECONDS", 0.0)


class TestCommand:
    def test_measures_and_writes_table_json_and_picture(self, tmp_path, capsys, briefly):
        pytest.importorskip("matplotlib")
        file, picture = tmp_path / "bench.json", tmp_path / "bench.png"
        chosen = ["--problems", "stage,noise,circle", "--levels", "1", "--sizes", "200"]
        assert bench(*chosen, "--json", file, "--plot", picture) == 0
        printed = capsys.readouterr().out
        for words in (
            "S², level 1: a stage, 2 ranks",
            "of the residual",
            "with noise",
            "iterations",
        ):
            assert words in printed
        assert picture.stat().st_size > 1000

        found = json.loads(file.read_text())
        assert found["benchmark"] == "pde"
        versions = found["machine"]["versions"]
        assert {"dolfinx", "petsc4py", "mpi", "numba"} <= set(versions)
        assert all(
            version[0].isdigit()
            for name, version in versions.items()
            if name not in ("mpi", "blas")
        )
        rows = {(row["problem"], row["what"]): row for row in found["rows"]}
        assert len(rows) == 4 + (4 if TWO_RANKS else 1) + 5 + 3
        for title, ranks in (("1 rank", 1), ("2 ranks", 2)):
            if ranks == 2 and not TWO_RANKS:
                continue
            parts = [row for (problem, _), row in rows.items() if title in problem]
            assert [row["what"] for row in parts] == ["attention", "residual", "limiter", "stage"]
            for row in parts:
                assert row["size"] == 80 * 6 and row["ranks"] == ranks
                assert row["seconds"] > 0 and row["repetitions"] == 4
            attention, residual, *_ = parts
            assert attention["ratio"] == pytest.approx(attention["seconds"] / residual["seconds"])
            assert residual["rate"] == pytest.approx(480 / residual["seconds"] / ranks)
        diffusion = rows["S², level 1: a step with noise", "diffusion"]
        assert 1 < diffusion["iterations"] < 200
        ours, peer = rows[CIRCLE, "ours"], rows[CIRCLE, "Lax-Friedrichs"]
        assert 0 < ours["error"] <= peer["error"]
        assert peer["ratio"] == pytest.approx(peer["seconds"] / ours["seconds"])

    def test_growth_is_over_all_levels(self, tmp_path, capsys, briefly):
        file = tmp_path / "bench.json"
        assert bench("--problems", "growth", "--levels", "2,0,1", "--json", file) == 0
        rows = json.loads(file.read_text())["rows"]
        assert [row["size"] for row in rows] == [120, 480, 1920]
        assert all(1e7 < row["resident_bytes"] < 2e9 for row in rows)
        slope, _ = np.polyfit(
            np.log([row["size"] for row in rows]), np.log([row["seconds"] for row in rows]), 1
        )
        assert rows[0]["growth"] == pytest.approx(slope)
        assert "GB resident" in capsys.readouterr().out

    def test_says_what_cannot_be_measured(self, monkeypatch, capsys, briefly):
        monkeypatch.setattr("meanformer.scripts.bench.process.shutil.which", lambda name: None)
        assert bench("--problems", "stage", "--levels", "0") == 0
        assert "mpirun is not on PATH" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--problems", "stages"], "unknown name 'stages'; allowed: stage, noise"),
            (["--levels", "4,x"], "--levels: 'x'; allowed: whole numbers from 0 to 8"),
            (["--levels", "9"], "--levels: '9'"),
            (["--sizes", "1"], "--sizes: '1'"),
            (["--methods", "numpy"], "--methods: not an option of meanformer bench pde"),
            (["--budget", "1"], "--budget: not an option of meanformer bench pde"),
        ],
    )
    def test_refuses_wrong_arguments(self, arguments, message, capsys):
        assert bench(*arguments) == 2
        assert message in capsys.readouterr().err


class TestCircle:
    def test_modes_grow_as_linearised_attention_says(self, monkeypatch):
        """A mode k of a nearly uniform density grows with k^2 w_k / beta, w_k = I_k(beta)."""
        monkeypatch.setattr(circle, "_AMPLITUDE", 1e-7)
        solution = fourier_solution(64, 400)
        rate = iv(1, circle.BETA) / circle.BETA
        grown = 1e-7 / 2 * np.exp(rate * circle.END) / (2 * np.pi)
        assert abs(solution.coefficients[1]) == pytest.approx(grown, rel=1e-6)

    def test_solution_is_converged(self):
        angles = np.linspace(0, 6, 50)
        coarse, fine = fourier_solution(), fourier_solution(768, 3000)
        assert np.abs(coarse.density(angles) - fine.density(angles)).max() < 1e-9
        assert 2 * np.pi * coarse.coefficients[0].real == pytest.approx(1, abs=1e-14)
        assert coarse.largest_speed == pytest.approx(fine.largest_speed, rel=1e-3)

    def test_velocity_is_that_of_attention(self):
        angles = circle.equal_angles(40)
        points = np.column_stack([np.cos(angles), np.sin(angles)])
        density = circle.initial_density(angles)
        attention = Attention(law="unnormalised", beta=circle.BETA)
        weights = density * 2 * np.pi / 40
        wanted = attention.velocity(points, points, weights, Sphere(2))
        along = np.column_stack([-np.sin(angles), np.cos(angles)])
        found = circle.velocity_on(40)(density)[:, None] * along
        np.testing.assert_allclose(found, wanted, atol=1e-12)

    def test_peer_is_of_first_order_keeps_mass_and_sign(self):
        exact = fourier_solution()
        errors = []
        for size in (1000, 2000, 4000):
            peer = LaxFriedrichs(size, exact.largest_speed)
            density = peer.solve()
            assert density.min() > 0
            assert density.sum() * 2 * np.pi / size == pytest.approx(1, abs=1e-12)
            errors.append(np.abs(density - exact.density(peer.angles)).mean())
        orders = np.log2(np.divide(errors[:-1], errors[1:]))
        assert np.all(np.abs(orders - 1) < 0.15), orders

    def test_ours_is_at_least_as_accurate(self, monkeypatch):
        monkeypatch.setattr(density, "_REPETITIONS", 1)
        monkeypatch.setattr(density, "_LONG_ENOUGH", 0.0)
        ours, with_own_steps, peer = density.accuracy([400])
        assert [each["what"] for each in (ours, with_own_steps, peer)] == [
            "ours",
            "ours, own steps",
            "Lax-Friedrichs",
        ]
        assert ours["error"] <= peer["error"]
        mesh, steps = ours["note"].rsplit(", ", 1)
        assert int(steps.split()[0]) in density._STEPS
        own_mesh, own_steps = with_own_steps["note"].rsplit(", ", 1)
        assert own_mesh == mesh and int(own_steps.split()[0]) > 20
        tried = {degree: list(density.as_accurate(degree, peer["error"])) for degree in (1, 2, 3)}
        assert any(tried.values())
        for degree, found in tried.items():
            assert all(density.error_of_ours(degree, *each) <= peer["error"] for each in found)

    def test_says_where_nothing_is_as_accurate(self, monkeypatch):
        monkeypatch.setattr(density, "_LARGEST_COST", 0.0)
        (found,) = density.accuracy([200])
        assert "seconds" not in found and "no computation" in found["note"]

    def test_ours_converges_to_the_same_solution(self):
        errors = [density.error_of_ours(3, 64 * n, 32 * n) for n in (1, 2)]
        assert errors[1] < 1e-5
        assert np.log2(errors[0] / errors[1]) > 3.5


def test_start_is_that_of_the_case():
    case = Case.load(Path(__file__).parents[3] / "cases" / "two-caps.toml")
    assert case.attention.beta == density.BETA
    assert case.pde.degree == density.DEGREE
    assert initial_measure(case.initial, 3) == density.START
