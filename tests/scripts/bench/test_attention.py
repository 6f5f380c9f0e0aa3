"""The command ``meanformer bench``: its table, its files, its peers' answers, and its laws."""

import json
import os
import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from meanformer.scripts.bench import peers, timing
from meanformer.scripts.bench.attention import velocity
from meanformer.scripts.bench.attention.benchmark import flops_per_pair
from meanformer.scripts.bench.attention.methods import METHODS
from meanformer.scripts.bench.attention.problems import GROUPS, PROBLEMS, error_of
from meanformer.scripts.bench.machine import peak_flops
from meanformer.scripts.bench.peers import Method, Prepared
from meanformer.scripts.bench.timing import fit_growth
from meanformer.scripts.main import main

ONE_OF_EACH = list({problem.group: title for title, problem in PROBLEMS.items()}.values())


def bench(*arguments):
    return main(["bench", "attention", *map(str, arguments)])


class TestCommand:
    def test_measures_and_writes_table_json_and_picture(self, tmp_path, capsys):
        pytest.importorskip("matplotlib")
        file, picture = tmp_path / "bench.json", tmp_path / "bench.png"
        chosen = ["--problems", "space,direct", "--methods", "numpy", "--sizes", "200,400"]
        assert bench(*chosen, "--json", file, "--plot", picture) == 0
        printed = capsys.readouterr().out
        assert "R³, direct sums" in printed
        assert "numpy" in printed and "pykeops" not in printed
        assert "ns a pair and core" in printed
        assert picture.stat().st_size > 1000

        found = json.loads(file.read_text())
        assert found["benchmark"] == "attention"
        assert found["machine"]["cores"] >= 1 and found["machine"]["peak_flops"] > 1e8
        assert {"python", "numpy", "numba", "ducc0", "blas"} <= set(found["machine"]["versions"])
        assert found["methods"]["numpy"] == {"version": np.__version__}
        assert found["problems"]["R³, |A|R² = 10"]["tolerance"] == 1e-9
        rows = found["rows"]
        assert len(rows) == 2 * 2 * 2
        for row in rows:
            assert row["seconds"] > 0 and not row["extrapolated"]
            assert row["error"] < 1e-9
            assert (row["ratio"] is None) == (row["method"] == "ours")
            assert (row["pair_ns"] is None) == (row["problem"] != "R³, direct sums")
            assert row["growth"] is not None

    def test_extrapolates_what_takes_longer_than_the_budget(self, tmp_path, capsys):
        file = tmp_path / "bench.json"
        chosen = ["--problems", "space", "--methods", "numpy", "--sizes", "400,4000"]
        assert bench(*chosen, "--budget", 1e-6, "--json", file) == 0
        small, large = (r for r in json.loads(file.read_text())["rows"] if r["method"] == "numpy")
        assert small["size"] == 400 and not small["extrapolated"] and small["error"] < 1e-12
        assert large["size"] == 4000 and large["extrapolated"] and large["error"] is None
        assert large["seconds"] == pytest.approx(100 * small["seconds"])
        printed = capsys.readouterr().out
        assert "~ not measured" in printed
        assert f"~{large['seconds']:.3g}" in printed

    def test_memory_and_ranks(self, tmp_path):
        file = tmp_path / "bench.json"
        assert bench("--problems", "memory,ranks", "--sizes", "2000", "--json", file) == 0
        memory, *ranks = json.loads(file.read_text())["rows"]
        assert 0 <= memory["resident_bytes"] < 1e9
        if shutil.which("mpirun") and len(os.sched_getaffinity(0)) > 1:
            assert [row["speedup"] is None for row in ranks] == [True, False]
        else:
            assert ranks[0]["seconds"] is None and ranks[0]["note"]

    @pytest.mark.skipif(find_spec("pykeops") is not None, reason="pykeops is installed")
    def test_names_what_is_not_installed(self, capsys):
        chosen = ["--problems", "space", "--methods", "pykeops", "--sizes", "300"]
        assert bench(*chosen) == 0
        printed = capsys.readouterr().out
        assert "pykeops: not installed; pip install pykeops (the extra bench)" in printed

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--problems", "spher"], "unknown name 'spher'; allowed: sphere, plane"),
            (["--problems", "sphere,"], "unknown name ''"),
            (["--methods", "keops"], "did you mean 'pykeops'?"),
            (["--sizes", "100,1.5"], "--sizes: '1.5'; allowed: whole numbers"),
            (["--sizes", "-4"], "--sizes: '-4'"),
            (["--budget", "0"], "--budget is 0"),
            (["--budget", "nan"], "--budget is nan"),
            (["--json", "no/such/folder.json"], "--json: no/such/folder.json is not a file"),
            (["--plot", "picture.xyz"], "allowed: "),
            (["--levels", "3"], "--levels: not an option of meanformer bench attention"),
        ],
    )
    def test_refuses_wrong_arguments(self, arguments, message, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert bench(*arguments) == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.iterdir())

    def test_refuses_an_unknown_benchmark(self, capsys):
        assert main(["bench", "atention"]) == 2
        assert (
            "allowed: attention, particles, pde; did you mean 'attention'?"
            in capsys.readouterr().err
        )

    def test_says_that_a_picture_needs_matplotlib(self, monkeypatch, capsys):
        monkeypatch.setattr("meanformer.scripts.command_line.find_spec", lambda name: None)
        assert bench("--plot", "picture.png") == 2
        assert "matplotlib is not installed" in capsys.readouterr().err


class TestMethods:
    @pytest.mark.parametrize("title", ONE_OF_EACH)
    @pytest.mark.parametrize("name", METHODS)
    def test_everyone_computes_the_same_velocity(self, name, title, monkeypatch):
        method, problem = METHODS[name], PROBLEMS[title]
        if name not in problem.methods:
            pytest.skip("is not measured there")
        for variable, value in method.environment.items():
            monkeypatch.setenv(variable, value.format(cores=1))
        if "missing" in next(peers.version(method.module, "")):
            pytest.skip(f"{name} is not installed")
        measure = problem.measure(120)
        found = method.prepare(problem, measure).compute()
        assert error_of(problem, measure, found) < 1e-12

    def test_error_is_that_of_the_worst_target(self):
        problem = PROBLEMS["R³, |A|R² = 10"]
        measure = problem.measure(30)
        exact = METHODS["ours"].prepare(problem, measure).compute()
        wrong = exact.copy()
        wrong[7] += [0.0, 3e-4, 4e-4]
        largest = np.linalg.norm(exact, axis=1).max()
        assert error_of(problem, measure, wrong) == pytest.approx(5e-4 / largest)

    def test_the_norm_of_the_logits_is_as_titled(self):
        for problem in PROBLEMS.values():
            assert np.linalg.norm(problem.logit_matrix, 2) == pytest.approx(problem.beta)


class Synthetic:
    """A method that takes a given time by a clock of its own."""

    def __init__(self, seconds):
        self.seconds, self.now = seconds, 0.0

    def prepare(self, problem, measure):
        def velocity():
            self.now += self.seconds(len(measure.points))
            return measure.points

        return Prepared(velocity, "")


class TestGrowth:
    @pytest.fixture
    def sizes_measured(self, monkeypatch):
        def measure(seconds, sizes, budget, adapts=False):
            synthetic = Synthetic(seconds)
            method = Method("synthetic", synthetic.prepare, {}, adapts=adapts)
            monkeypatch.setitem(METHODS, "synthetic", method)
            monkeypatch.setattr(timing.time, "perf_counter", lambda: synthetic.now)
            monkeypatch.setattr(velocity, "error_of", lambda *given: 0.0)
            results = list(velocity.speed("S², β = 1", "synthetic", list(sizes), budget))
            for result in results:
                assert result["seconds"] == pytest.approx(seconds(result["size"]))
            return [result["size"] for result in results if "extrapolated" not in result]

        return measure

    def test_a_law_is_recovered(self):
        sizes = [1e3, 1e4, 3e5]
        law = fit_growth({n: 3e-6 * n**1.2 for n in sizes})
        assert law.exponent == pytest.approx(1.2)
        assert law(1e7) == pytest.approx(3e-6 * 1e7**1.2)
        assert law.size(law(12345)) == pytest.approx(12345)

    def test_no_more_than_all_pairs_is_believed(self):
        law = fit_growth({1e3: 1e-3, 1e4: 1.0})
        assert law.exponent == 2
        assert law(1e5) == pytest.approx(100)
        assert fit_growth({1e3: 1.0}).exponent == 2

    def test_overheads_lower_the_exponent(self):
        law = fit_growth({n: 0.01 + 1e-7 * n for n in (1e4, 1e5, 1e6)})
        assert 0.3 < law.exponent < 0.7

    def test_measures_up_to_the_budget_and_once_more_for_the_law(self, sizes_measured):
        sizes = (1000, 10_000, 100_000, 1_000_000)
        assert sizes_measured(lambda n: 1e-9 * n**2, sizes, 1.0) == [1000, 10_000, 22_360]

    def test_measures_all_that_fits(self, sizes_measured):
        assert sizes_measured(lambda n: 1e-6 * n, (3000, 30_000), 1.0) == [3000, 30_000]

    def test_measures_every_size_of_what_may_change_its_ways(self, sizes_measured):
        sizes = (1000, 10_000, 100_000)
        assert tuple(sizes_measured(lambda n: 1e-9 * n**2, sizes, 1.0, adapts=True)) == sizes

    def test_a_first_size_that_is_too_large_leaves_smaller_ones(self, sizes_measured):
        assert sizes_measured(lambda n: 1e-8 * n**2, (100_000,), 1.0) == [7071]
        assert sizes_measured(lambda n: 1e-6 * n**2, (100_000,), 1.0) == [2000]

    def test_the_peak_is_that_of_a_processor(self):
        assert 1e8 < peak_flops() < 1e14
        assert flops_per_pair(3) == 38


def test_help_names_every_group(capsys):
    with pytest.raises(SystemExit):
        bench("--help")
    printed = " ".join(capsys.readouterr().out.split())
    assert ", ".join(GROUPS) in printed
