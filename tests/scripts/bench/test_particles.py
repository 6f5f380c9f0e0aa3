"""The command ``meanformer bench particles``: its table, its peers' steps, and their error."""

import json
import os
import shutil

import numpy as np
import pytest

from meanformer.scripts.bench import peers
from meanformer.scripts.bench.particles import tokens
from meanformer.scripts.bench.particles.methods import METHODS
from meanformer.scripts.bench.particles.problems import GROUPS, PROBLEMS, error_of, our_velocity
from meanformer.scripts.main import main

SPEED = [title for title, problem in PROBLEMS.items() if problem.task == "speed"]


def bench(*arguments):
    return main(["bench", "particles", *map(str, arguments)])


class TestCommand:
    def test_measures_and_writes_table_and_json(self, tmp_path, capsys):
        file = tmp_path / "bench.json"
        chosen = ["--problems", "memory,ranks", "--methods", "numpy", "--sizes", "130"]
        assert bench(*chosen, "--json", file) == 0
        assert "GB resident" in capsys.readouterr().out

        found = json.loads(file.read_text())
        assert found["benchmark"] == "particles"
        assert found["methods"]["numpy"] == {"version": np.__version__}
        assert found["problems"]["memory"]["tokens_in_a_system"] is None
        memory, *ranks = found["rows"]
        assert 1e7 < memory["resident_bytes"] < 1e9
        assert memory["seconds"] > 0 and memory["error"] < 1e-13
        if shutil.which("mpirun") and len(os.sched_getaffinity(0)) > 1:
            assert [row["speedup"] is None for row in ranks] == [True, False]
        else:
            assert ranks[0]["seconds"] is None and ranks[0]["note"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--problems", "space"], "allowed: sphere, wide, systems, memory, ranks"),
            (["--methods", "touch"], "did you mean 'torch'?"),
            (["--budget", "-1"], "--budget is -1"),
            (["--levels", "3"], "--levels: not an option of meanformer bench particles"),
        ],
    )
    def test_refuses_wrong_arguments(self, arguments, message, capsys):
        assert bench(*arguments) == 2
        assert message in capsys.readouterr().err


class TestMethods:
    @pytest.mark.parametrize("title", SPEED)
    @pytest.mark.parametrize("name", METHODS)
    def test_everyone_takes_the_same_step(self, name, title, monkeypatch):
        method, problem = METHODS[name], PROBLEMS[title]
        if name not in problem.methods:
            pytest.skip("is not measured there")
        for variable, value in method.environment.items():
            monkeypatch.setenv(variable, value.format(cores=1))
        if "missing" in next(peers.version(method.module, "")):
            pytest.skip(f"{name} is not installed")
        before = problem.start(100)
        after = method.prepare(problem, before).compute()
        assert after.shape == before.shape
        assert np.linalg.norm(after - before, axis=1).max() > 1e-3
        assert error_of(problem, before, after) < 1e-13

    def test_error_is_that_of_the_worst_token(self):
        problem = PROBLEMS["S², β = 9"]
        before = problem.start(20)
        wrong = METHODS["ours"].prepare(problem, before).compute().copy()
        wrong[7] += [0.0, 3e-4, 4e-4]
        assert error_of(problem, before, wrong) == pytest.approx(5e-4)

    def test_tokens_of_a_system_see_no_others(self):
        problem = PROBLEMS["systems of 32, d = 32"]
        x = problem.start(96)
        velocity = our_velocity(problem, x)
        for system in range(3):
            own = slice(32 * system, 32 * system + 32)
            np.testing.assert_allclose(velocity[own], our_velocity(problem, x[own]), atol=1e-15)


def test_sizes_are_those_of_whole_systems():
    problem = PROBLEMS["systems of 64, d = 16"]
    assert [problem.whole(size) for size in (1, 64, 130)] == [64, 64, 192]
    assert PROBLEMS["S², β = 9"].whole(130) == 130
    (result,) = tokens.speed(problem.title, "numpy", [192], 1.0)
    assert result["size"] == 192 and result["seconds"] > 0 and result["error"] < 1e-13


def test_time_of_systems_grows_no_faster_than_their_number(monkeypatch):
    def timed(problem, method, budget, size, pilot):
        return {"size": size, "seconds": 1e-6 * size}

    monkeypatch.setattr(tokens, "_time_one", timed)
    results = list(tokens.speed("systems of 2, d = 3", "numpy", [2_000_000, 200_000_000], 3.0))
    assert [result["size"] for result in results] == [2_000_000, 200_000_000]
    assert results[-1]["extrapolated"] and results[-1]["seconds"] == pytest.approx(200.0)


def test_help_names_every_group(capsys):
    with pytest.raises(SystemExit):
        bench("--help")
    assert ", ".join(GROUPS) in " ".join(capsys.readouterr().out.split())
