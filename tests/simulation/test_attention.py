"""Laws, heads and layers of a case, from its keys to whole runs."""

import csv

from mpi4py import MPI

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from meanformer.attention import Attention, RandomLayers, Schedule, interaction_energy
from meanformer.attention.laws import LAWS
from meanformer.particles import TokenSolver
from meanformer.simulation import Case, run
from meanformer.simulation.builders.model import build_model

WORLD = MPI.COMM_WORLD
TURN = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.2], [0.0, 0.3, 0.5]]
BACK = [[-entry for entry in row] for row in TURN]
TILT = [[0.5, 0.2, -0.1], [0.3, -0.4, 0.8]]
LEAN = [[0.1, 0.7, 0.2], [-0.6, 0.1, 0.4]]
MOMENTS = [f"mean_{i}" for i in (1, 2, 3)] + [f"cov_{ij}" for ij in (11, 12, 13, 22, 23, 33)]
CAP = {"kind": "von-mises-fisher", "mean": [0.0, 0.6, 0.8], "concentration": 4.0}


def case(attention, density=False, tokens=40, end=0.3, initial=CAP, integrator="adaptive", **time):
    data = {
        "attention": {"beta": 2.0} | attention,
        "initial": initial,
        "time": {"end": end, "sample_every": 0.1, "step": 0.05} | time,
        "output": {"fields": ["none"]},
    }
    if density:
        data["pde"] = {"refinement": 1, "degree": 1}
    if tokens:
        data["particles"] = {"number": tokens, "integrator": integrator}
    return Case.from_dict(data)


def model(**attention):
    """The model of a case until t = 1."""
    return build_model(case(attention, end=1.0))


def given(points):
    return {"kind": "tokens", "points": points.tolist()}


def same(columns, expected, tolerance=0.0):
    """Whether two runs leave the same columns."""
    return columns.keys() == expected.keys() and all(
        np.allclose(columns[name], expected[name], rtol=0, atol=tolerance, equal_nan=True)
        for name in expected
    )


def mean_length(r):
    """|int x rho_a| of the Poisson kernel of |a| = r, in d = 3."""
    log = np.log((1 + r) / (1 - r))
    return (1 + r**2) / (2 * r) - (1 - r**2) ** 2 / (4 * r**2) * log


class TestModel:
    def test_keys_reach_the_model(self):
        attention = model(law="sigmoid", offset=-1.5, query=TILT, key=LEAN, value=TURN)
        assert isinstance(attention, Attention)
        assert (attention.law, attention.beta, attention.offset) == ("sigmoid", 2.0, -1.5)
        (head,) = attention.all_heads
        for matrix, expected in zip(head.matrices, (TILT, LEAN, TURN), strict=True):
            assert np.array_equal(matrix, expected)
        assert model(law="hardmax", tie_tolerance=0.5).tie_tolerance == 0.5
        assert model(law="hardmax").tie_tolerance == Attention().tie_tolerance

    def test_heads(self):
        first, second = model(heads=[{"value": -1}, {"query": TILT, "key": LEAN}]).all_heads
        assert np.array_equal(np.eye(3) * first.matrices[2], -np.eye(3))
        assert np.array_equal(second.matrices[0], TILT)
        assert np.array_equal(second.matrices[1], LEAN)

    def test_layers(self):
        schedule = model(layers=[{"duration": 0.3, "value": -1}, {"duration": 0.1, "value": 2}])
        assert isinstance(schedule, Schedule)
        assert schedule.next_change(0.0) == 0.3 and schedule.next_change(0.3) == np.inf
        values = [float(schedule.at(t).all_heads[0].matrices[2]) for t in (0, 0.3, 9)]
        assert values == [-1.0, 2.0, 2.0]

    def test_changes_meet_samples(self):
        # 0.1 + 0.1 + 0.1 is 0.30000000000000004.
        schedule = model(layers=[{"duration": 0.1}] * 10)
        assert [schedule.next_change(k / 10) for k in range(9)] == [k / 10 for k in range(1, 10)]

    def test_random_values(self):
        layers = model(
            random_values={"seed": 3, "duration": 0.3, "scale": 2.0}, query=TILT, key=LEAN
        )
        wanted = RandomLayers(Attention(beta=2.0), 3, 3, scale=2.0)
        for number, time in enumerate((0.0, 0.3, 0.6, 0.9)):
            head, expected = (each.all_heads[0] for each in (layers.at(time), wanted.layer(number)))
            assert np.array_equal(head.matrices[0], TILT)
            assert np.array_equal(head.matrices[2], expected.matrices[2])
            assert layers.next_change(time) == pytest.approx(time + 0.3)


class TestHeads:
    @pytest.mark.mpi
    def test_that_cancel_move_nothing(self):
        heads = [{"query": TILT, "key": LEAN, "value": value} for value in (TURN, BACK)]
        result = run(case({"heads": heads}, density=True))
        for columns in (result.pde, result.particles):
            for name, values in columns.items():
                assert name == "t" or np.all(np.isnan(values)) or np.ptp(values) < 1e-12, name

    @pytest.mark.parametrize(
        "law",
        [pytest.param("softmax", marks=pytest.mark.mpi), "unnormalised", "linear", "l2", "sigmoid"],
    )
    def test_halves_add_up_to_one(self, law):
        matrices = {"query": TILT, "key": LEAN}
        one = run(case({"law": law, **matrices}, density=True, end=0.2))
        halves = [matrices | {"value": 0.5}] * 2
        two = run(case({"law": law, "heads": halves}, density=True, end=0.2))
        for columns, expected in ((two.pde, one.pde), (two.particles, one.particles)):
            # The energies of heads add, whatever their values.
            doubled = {"energy", "free_energy", "dissipation"} & columns.keys()
            assert same(columns, expected | {k: 2 * expected[k] for k in doubled}, 1e-12)

    def test_follow_their_equation(self, on_sphere):
        # x_i' = P_x sum_h V_h sum_j y_j e^{beta <Q_h x_i, K_h y_j>} / Z, to the integrators' error.
        points, matrices = on_sphere(1, 6), [(TILT, LEAN, TURN), (LEAN, LEAN, 0.5 * np.eye(3))]

        def rate(_, flat):
            x, total = flat.reshape(-1, 3), 0
            for query, key, value in matrices:
                kernel = np.exp(2.0 * (x @ np.transpose(query)) @ (x @ np.transpose(key)).T)
                total += kernel / kernel.sum(axis=1, keepdims=True) @ x @ np.transpose(value)
            return (total - np.sum(total * x, axis=1, keepdims=True) * x).ravel()

        exact = solve_ivp(rate, (0, 1), points.ravel(), "DOP853", rtol=1e-11, atol=1e-12)
        heads = [
            {"query": TILT, "key": LEAN, "value": TURN},
            {"query": LEAN, "key": LEAN, "value": 0.5},
        ]
        wanted = case({"heads": heads}, tokens=6, initial=given(points), end=1.0, step=0.02)
        tokens = run(wanted, comm=MPI.COMM_SELF).state.tokens
        assert np.abs(tokens.points - exact.y[:, -1].reshape(-1, 3)).max() < 1e-7


class TestLaws:
    @pytest.mark.parametrize("law", [law for law in LAWS if law != "hardmax"])
    def test_go_back_where_values_change_sign(self, law):
        # The velocity is linear in V: with -V tokens go back the way they came.
        layers = [
            {"duration": 1.0, "query": TILT, "key": LEAN, "value": value} for value in (TURN, BACK)
        ]
        result = run(case({"law": law, "layers": layers}, end=2.0, step=0.02))
        start, middle, end = ({n: v[k] for n, v in result.particles.items()} for k in (0, 10, 20))
        assert max(abs(middle[name] - start[name]) for name in MOMENTS) > 0.01
        for name in MOMENTS:
            assert end[name] == pytest.approx(start[name], abs=1e-6), name

    @pytest.mark.mpi
    def test_hardmax_follows_its_leader(self, on_sphere):
        # With <Ax,y> = x_3 y_3 the tokens above the equator follow the pole: theta' = -sin(theta).
        points = np.vstack([[0.0, 0.0, 1.0], np.abs(on_sphere(2, 9))])
        attention = {"law": "hardmax", "query": [[0, 0, 1]], "key": [[0, 0, 1]]}
        result = run(case(attention, tokens=10, initial=given(points), end=0.5, step=0.01))
        angles = 2 * np.arctan(np.tan(np.arccos(points[:, 2]) / 2) * np.exp(-0.5))
        assert result.particles["mean_3"][-1] == pytest.approx(np.cos(angles).mean(), abs=1e-9)

    @pytest.mark.mpi
    @pytest.mark.parametrize("law", ["sigmoid", "hardmax"])
    def test_without_an_energy_leave_its_column_empty(self, law, shared_tmp_path):
        density = law != "hardmax"
        result = run(case({"law": law}, density=density, end=0.1), shared_tmp_path / "run")
        assert result.status == "done"
        WORLD.barrier()
        for stem in ("pde", "particles") if density else ("particles",):
            assert np.all(np.isnan(getattr(result, stem)["energy"]))
            with (shared_tmp_path / "run" / f"{stem}.csv").open() as file:
                assert {row["energy"] for row in csv.DictReader(file)} == {""}
        assert result.summary["final"]["particles"]["energy"] is None


class TestLayers:
    # A density is off by its mesh, tokens by the growth of their sample's error.
    @pytest.mark.parametrize(
        "solver, tolerance",
        [
            ({"pde": {"refinement": 2}}, 3e-5),
            ({"particles": {"number": 1000, "tolerance": 1e-8}}, 0.02),
        ],
        ids=["pde", "particles"],
    )
    def test_go_along_the_exact_solution_and_back(self, solver, tolerance):
        # At beta = 0 the Poisson kernel keeps its form, and r goes up with V = I, down with -I.
        data = {
            "attention": {
                "beta": 0.0,
                "layers": [{"duration": 1.0}, {"duration": 1.0, "value": -1}],
            },
            "initial": {"kind": "poisson-kernel", "a": [0.0, 0.0, 0.3]},
            "time": {"end": 2.0, "sample_every": 0.5},
        }
        result = run(Case.from_dict(data | solver))
        columns = result.pde or result.particles
        half, one = 0.5147863920, 0.6473419475
        expected = [mean_length(0.3), half, one, half, mean_length(0.3)]
        assert np.abs(columns["mean_3"] - expected).max() < tolerance
        if result.particles:
            for name in MOMENTS:
                assert np.abs(columns[name] - columns[name][::-1]).max() < 1e-7, name

    @pytest.mark.mpi
    def test_steps_end_at_changes(self, monkeypatch):
        reached, step = [], TokenSolver.step

        def watched(self, until):
            step(self, until)
            reached.append(self.time)

        monkeypatch.setattr(TokenSolver, "step", watched)
        layers = [{"duration": 0.13}, {"duration": 0.17, "value": -1}, {"duration": 9.0}]
        result = run(case({"layers": layers}, end=0.4, integrator="rk4"))
        # Steps of 0.05 or a bit less: 0.1, to 0.13, to 0.2, 0.3 and 0.4.
        assert len(reached) == 2 + 1 + 2 + 2 + 2
        assert 0.13 in reached and 0.3 in reached
        assert result.summary["steps"]["tokens"] == len(reached)

    @pytest.mark.mpi
    def test_energy_is_that_of_the_time(self):
        layers = [{"duration": 0.1, "value": 0}, {"duration": 1.0, "value": 0, "query": 2}]
        result = run(case({"layers": layers}, density=True, end=0.2))
        for columns, solver in (
            (result.pde, result.state.density),
            (result.particles, result.state.tokens),
        ):
            measure = solver.points, solver.weights, solver.space, solver.comm
            # At the change, that of the layer that begins.
            expected = [
                interaction_energy(Attention(beta=2.0, query=query), *measure)
                for query in (1, 2, 2)
            ]
            assert columns["energy"] == pytest.approx(expected, rel=1e-12)

    def test_random_values_are_layers_written_out(self):
        random = run(case({"random_values": {"seed": 5, "duration": 0.08}}, density=True))
        drawn = RandomLayers(Attention(), 3, seed=5)
        values = [drawn.layer(number).all_heads[0].matrices[2].tolist() for number in range(5)]
        layers = [{"duration": 0.08, "value": value} for value in values]
        written = run(case({"layers": layers}, density=True))
        for columns, expected in (
            (random.pde, written.pde),
            (random.particles, written.particles),
        ):
            assert same(columns, expected, 1e-13)
        other = run(case({"random_values": {"seed": 6, "duration": 0.08}}))
        assert not same(other.particles, random.particles, 1e-3)
