"""Convergence studies: their errors, their orders, and what they refuse."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention
from meanformer.attention.exact import mean_length
from meanformer.attention.measures import Gaussian, PoissonKernel
from meanformer.meshes import circle
from meanformer.pde import DensitySolver
from meanformer.pde.dg.l2_distance import l2_distance
from meanformer.simulation import Case, CaseError, converge
from meanformer.simulation.studies.exact_values import exact_columns
from meanformer.simulation.studies.orders import fit_order, order_between

SELF, WORLD = MPI.COMM_SELF, MPI.COMM_WORLD

CIRCLE = {
    "space": {"dimension": 2},
    "attention": {"beta": 0.0},
    "initial": {"kind": "poisson-kernel", "a": [0.3, 0.4]},
    "pde": {"degree": 1},
    "time": {"end": 0.5},
}
LINE = {
    "space": {"kind": "euclidean", "dimension": 1},
    "attention": {"beta": 0.5, "value": -1.0},
    "initial": {"kind": "gaussian", "mean": [0.3], "covariance": [[1.0]]},
    "pde": {"degree": 2, "half_width": 8.0},
    "time": {"end": 0.5},
}


def case(data, **tables) -> Case:
    changed = data | {
        name: data.get(name, {}) | keys for name, keys in tables.items() if keys is not None
    }
    return Case.from_dict({n: t for n, t in changed.items() if tables.get(n, t) is not None})


class TestOrders:
    X = 2.0 ** -np.arange(1, 6)

    @pytest.mark.parametrize("order", [0.5, 1.0, 3.7])
    @pytest.mark.parametrize("power", [1, 2])
    @pytest.mark.parametrize("finest", [0.0, 2.0**-6])
    def test_a_law_is_found_again(self, order, power, finest):
        exponent = power * order
        errors = 3.0 * (self.X**exponent - finest**exponent) ** (1 / power)
        fit = fit_order(self.X, errors, finest, power)
        assert fit.order == pytest.approx(order, rel=1e-6)
        between = [order_between(self.X[i:], errors[i:], finest, power) for i in range(4)]
        assert between == pytest.approx([order] * 4, rel=1e-6)
        assert fit.constant == pytest.approx(3.0, rel=1e-5)
        assert fit.law(self.X) == pytest.approx(errors, rel=1e-5)

    def test_order_is_a_mean_of_those_of_neighbours(self):
        sizes, errors = [4.0, 2.0, 1.0], [2.0**5, 2.0**3, 1.0]
        assert fit_order(sizes, errors).order == pytest.approx(2.5)
        assert order_between(sizes[:2], errors[:2]) == pytest.approx(2.0)
        assert order_between(sizes[1:], errors[1:]) == pytest.approx(3.0)

    def test_runs_without_an_error_are_left_out(self):
        fit = fit_order([8.0, 4.0, 2.0, 1.0], [np.nan, 16.0, 4.0, 0.0])
        assert fit.order == pytest.approx(2.0)

    def test_errors_that_grow_towards_the_reference_widen_the_spread(self):
        errors = [9.0, 1.0, 2.0, 0.5]
        fit = fit_order([16.0, 8.0, 4.0, 2.0], errors, 1.0)
        assert 0 < fit.order < order_between((16.0, 8.0), (9.0, 1.0), 1.0)
        assert order_between((8.0, 4.0), (1.0, 2.0), 1.0) == 0
        assert order_between((8.0, 4.0), (1.0, 2.0)) == pytest.approx(-1)
        assert np.isnan(order_between((8.0, 4.0), (1.0, np.nan)))

    @pytest.mark.parametrize(
        "sizes, errors, finest",
        [
            ([1.0], [1.0], 0.0),
            ([1.0, 1.0], [1.0, 2.0], 0.0),
            ([1.0, np.nan], [1.0, 1.0], 0.0),
            ([np.nan, np.nan], [1.0, 1.0], np.nan),
            ([4.0, 2.0], [1.0, 2.0], 1.0),
        ],
        ids=["one", "one size", "no size", "no sizes", "errors grow towards the reference"],
    )
    def test_where_there_is_none(self, sizes, errors, finest):
        assert fit_order(sizes, errors, finest) is None


class TestExactColumns:
    @pytest.mark.parametrize("a", [(0.57, -0.76), (0.2, 0.1), (0.57, 0.0, -0.76), (0.1, 0.0, 0.0)])
    def test_moments_of_poisson_kernels(self, a):
        columns = exact_columns(PoissonKernel(a))
        d, radius = len(a), np.linalg.norm(a)
        mean = np.array([columns[f"mean_{i + 1}"] for i in range(d)])
        assert mean == pytest.approx(mean_length(radius, d) / radius * np.array(a), abs=1e-12)
        assert columns["harmonic_1"] == pytest.approx(mean_length(radius, d), rel=1e-12)
        trace = sum(columns[f"cov_{i}{i}"] for i in range(1, d + 1))
        assert trace == pytest.approx(1 - mean @ mean, abs=1e-12)
        if d == 2:  # the Poisson kernel's Fourier coefficients are powers
            assert columns["harmonic_8"] == pytest.approx(radius**8, abs=1e-12)

    def test_moments_in_flat_space(self):
        columns = exact_columns(Gaussian((1.0, 2.0), ((3.0, 0.5), (0.5, 4.0))))
        assert columns == {"mean_1": 1, "mean_2": 2, "cov_11": 3, "cov_12": 0.5, "cov_22": 4}


@pytest.mark.mpi
def test_l2_distance_of_a_polynomial_and_a_formula():
    domain = circle(WORLD, cells=20, geometry_degree=2)
    solver = DensitySolver(domain, Attention(), 2, lambda x: np.ones(len(x)))
    # The uniform density is a polynomial, and cos is orthogonal to it.
    uniform = 1 / (2 * np.pi)
    near = l2_distance(solver, lambda x: np.full(len(x), uniform))
    apart = l2_distance(solver, lambda x: uniform + x[:, 0])
    assert near < 1e-5
    assert apart == pytest.approx(np.sqrt(np.pi), rel=1e-5)


class TestStudies:
    def test_density_on_the_circle(self):
        study = converge(case(CIRCLE), "pde.refinement", [4, 2, 3, 5])
        assert [row.value for row in study.rows] == [2, 3, 4, 5]
        assert [row.size for row in study.rows] == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
        assert (study.quantity, study.reference, study.symbol) == ("l2", "exact solution", "h")
        assert 1.8 < study.order < 2.1
        low, high = study.spread
        assert 1.8 < low <= study.order <= high < 2.1
        assert study.done and study.finest is None
        assert np.isnan(study.rows[0].order) and study.rows[1].order > 1.8
        assert all(row.seconds > 0 for row in study.rows)

    def test_density_on_the_line(self):
        study = converge(case(LINE), "pde.refinement", ["3", "4", "5", "6"])
        assert study.quantity == "l2"
        assert 2.8 < study.order < 3.2

    def test_columns_of_exact_solutions_are_not_known_on_larger_spheres(self):
        of_tokens = {"space": {"dimension": 8}, "particles": {"number": 50}, "pde": None}
        uniform = case(CIRCLE | {"initial": {"kind": "uniform"}}, **of_tokens)
        study = converge(uniform, "particles.number", [50, 100, 200])
        assert study.reference != "exact solution"

    def test_columns_against_the_exact_solution(self):
        study = converge(case(LINE), "pde.refinement", [3, 4, 5], "cov_11")
        assert (study.quantity, study.reference) == ("pde.cov_11", "exact solution")
        assert study.rows[-1].error < 1e-5 and study.order > 4

    def test_without_an_exact_solution_against_the_finest_run(self):
        data = CIRCLE | {
            "attention": {"beta": 2.0},
            "initial": {"kind": "von-mises-fisher", "mean": [0.6, 0.8], "concentration": 2.0},
        }
        study = converge(case(data), "pde.refinement", [2, 3, 4, 5], "energy")
        assert (study.quantity, study.reference) == ("pde.energy", "finest run")
        assert study.done and study.finest == 5 and np.isnan(study.rows[-1].error)
        # That of the steps, p + 1. A straight line would be too steep.
        assert study.fit.finest == 1 / 32 and study.order == pytest.approx(2, abs=0.4)
        line = fit_order([row.size for row in study.rows], [row.error for row in study.rows])
        assert line.order > study.order + 0.1
        moments = converge(case(data), "pde.refinement", [1, 2])
        assert (moments.quantity, moments.reference) == ("pde.moments", "finest run")
        assert moments.fit is None

    def test_steps_are_compared_with_the_finest(self):
        data = case(CIRCLE, pde=None, particles={"number": 50, "integrator": "rk4"})
        study = converge(data, "time.step", [0.05, 0.125, "auto", 0.25], "energy")
        assert (study.quantity, study.reference) == ("particles.energy", "finest run")
        # Samples do not shorten steps.
        sizes = {row.value: row.size for row in study.rows}
        assert [sizes[step] for step in (0.25, 0.125, 0.05)] == [0.25, 0.125, 0.05]
        assert all(np.diff([row.size for row in study.rows]) <= 0)
        assert study.order == pytest.approx(4, abs=0.3)
        # The sample stays, and its distance from the mean-field limit hides the steps.
        moments = converge(data, "time.step", [0.2, 0.1])
        assert (moments.quantity, moments.reference) == ("particles.moments", "finest run")

    @pytest.mark.parametrize("normalisation", ["post", "peri"])
    def test_short_layers_tend_to_a_flow(self, normalisation):
        particles = {"number": 50, "integrator": "layers", "normalisation": normalisation}
        time = {"end": 1.0, "step": 0.1, "sample_every": 1.0}
        data = case(CIRCLE, pde=None, particles=particles, time=time)
        study = converge(data, "time.step", [0.1, 0.05, 0.025, 0.0125], "energy")
        assert study.expected.lowest == study.expected.highest == 1
        assert study.order == pytest.approx(1, abs=0.15) and not study.doubts

    @pytest.mark.parametrize("normalisation", ["post", "pre", "peri", "ngpt"])
    def test_layers_of_another_speed_have_no_exact_solution(self, normalisation):
        particles = {"number": 50, "integrator": "layers", "normalisation": normalisation}
        time = {"end": 1.0, "step": 0.5, "sample_every": 1.0}
        data = case(CIRCLE, pde=None, particles=particles, time=time)
        study = converge(data, "particles.number", [50, 100], "particles.mean_1")
        is_exact = study.reference == "exact solution"
        assert is_exact == (normalisation == "post")

    def test_tokens(self):
        data = case(CIRCLE, pde=None, particles={"seed": 1})
        study = converge(data, "particles.number", [100, 1000, 10_000])
        assert (study.quantity, study.reference) == ("particles.moments", "exact solution")
        assert study.symbol == "1/n" and 0.3 < study.order < 0.7
        # Against a run with more tokens of the same sequence variances subtract.
        nested = converge(data, "particles.number", [50, 200, 800, 3200, 12800], "energy")
        assert (nested.reference, nested.fit.power) == ("finest run", 2)
        assert 0.3 < nested.order < 0.7

    def test_a_distance_is_an_error(self):
        data = case(CIRCLE, pde={"refinement": 3}, particles={"number": 1000}, time={"end": 1e-2})
        study = converge(data, "particles.number", [100, 1000], "w1")
        assert (study.quantity, study.reference) == ("compare.w1", "zero")
        assert study.rows[0].error > study.rows[1].error > 0

    def test_keys_that_are_no_sizes(self):
        study = converge(case(CIRCLE, pde={"refinement": 3}), "pde.degree", [1, 2])
        assert study.symbol == "" and study.fit is None and np.isnan(study.order)
        assert study.rows[1].error < study.rows[0].error
        starts = converge(case(CIRCLE, pde={"refinement": 3}), "initial.a", [[0.1, 0.2], [0.3, 0]])
        assert starts.rows[1].value == [0.3, 0] and starts.symbol == ""
        assert starts.rows[0].error < 1e-3

    @pytest.mark.parametrize(
        "betas, symbol", [([0.4, 0.2, 0.1], "beta"), ([1, 2, 4], "1/beta"), ([1, 4, 2], "")]
    )
    def test_other_keys_tend_to_their_last_value(self, betas, symbol):
        data = case(CIRCLE, pde=None, particles={"number": 50})
        study = converge(data, "attention.beta", betas, "mean_1")
        assert (study.symbol, study.reference) == (symbol, "last run")
        assert study.finest == betas[-1] and study.rows[0].value == betas[0]
        assert study.meaning == symbol.replace("beta", "attention.beta")

    def test_a_run_that_fails_is_a_row(self):
        box = converge(case(LINE, pde={"refinement": 5}), "pde.half_width", [1.0, 8.0, 6.0])
        assert [row.status for row in box.rows] == ["refused", "done", "done"]
        assert not box.done and "pde.half_width" in box.rows[0].reason
        tokens = case(LINE, pde=None, particles={"number": 20}, attention={"law": "unnormalised"})
        wild = converge(tokens, "attention.beta", [0.1, 800.0, 0.2], "mean_1")
        assert [row.status for row in wild.rows] == ["done", "stopped", "done"]
        assert "double precision" in wild.rows[1].reason and wild.finest == 0.2

    def test_a_file_and_changes_to_it(self, tmp_path):
        file = tmp_path / "line.toml"
        file.write_text(case(LINE).to_toml().replace('title = ""', ""))
        changes = ["pde.degree=1"]
        study = converge(file, "pde.refinement", np.array([3, 4]), overrides=changes)
        assert study.title == "line" and study.rows[1].value == 4
        same = converge(case(LINE, pde={"degree": 1}), "pde.refinement", [3, 4])
        assert [row.error for row in same.rows] == [row.error for row in study.rows]

    @pytest.mark.mpi
    @pytest.mark.parametrize("quantity", [None, "moments"])
    def test_ranks_agree(self, quantity):
        alone = converge(case(CIRCLE), "pde.refinement", [1, 2], quantity, SELF)
        together = converge(case(CIRCLE), "pde.refinement", [1, 2], quantity, WORLD)
        found = [row.error for row in together.rows]
        assert found == pytest.approx([row.error for row in alone.rows], rel=1e-9)
        assert WORLD.allgather(found) == [found] * WORLD.size


class TestRefusals:
    @pytest.mark.mpi
    @pytest.mark.parametrize(
        "key, values, quantity, message",
        [
            ("pde.refinment", [1, 2], None, r"pde\.refinment: unknown key.* 'refinement'"),
            ("pde.refinement", [1, 13], None, r"pde\.refinement: 13 is not allowed"),
            ("pde.refinement", [1, "fine"], None, r"pde\.refinement: 'fine' is not allowed"),
            ("pde.refinement", [1], None, "at least two values"),
            ("pde.refinement", [], None, "at least two values"),
            ("pde.refinement", [1, "1"], None, "1 is given twice"),
            ("pde..refinement", [1, 2], None, "is not a key"),
            ("pde.refinement", [1, 2], "enrgy", "quantity: 'enrgy'.* energy, .*'energy'"),
            ("pde.refinement", [1, 2], "particles.energy", r"quantity: 'particles\.energy'"),
            ("attention.law", ["softmax", "hardmax"], None, "hardmax"),
        ],
    )
    def test_before_the_first_run(self, key, values, quantity, message):
        with pytest.raises(CaseError, match=f"(?s){message}"):
            converge(case(CIRCLE), key, values, quantity)

    @pytest.mark.parametrize("data", [{"pde": None, "particles": {}}, {"attention": {"beta": 1.0}}])
    def test_l2_without_a_density_or_an_exact_solution(self, data):
        with pytest.raises(CaseError, match=r"quantity: 'l2'.*must be"):
            converge(case(CIRCLE, **data), "time.end", [0.1, 0.2], "l2")

    def test_an_exact_solution_that_blows_up(self):
        data = case(LINE, attention={"law": "linear", "value": 1.0, "beta": 5.0})
        with pytest.raises(CaseError, match=r"time\.end: .*blows up"):
            converge(data, "time.end", [0.01, 10.0])

    @pytest.mark.mpi
    def test_no_mesh_resolves_the_start(self):
        with pytest.raises(CaseError, match="does not resolve"):
            converge(case(LINE, pde={"half_width": 1.0}), "pde.refinement", [3, 4])
