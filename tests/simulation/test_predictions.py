"""Runs end where theorems say, and where none says anything, none is called."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean
from meanformer.particles import TokenSolver
from meanformer.simulation import Case, CaseError
from meanformer.simulation.predictions import predict, verify
from meanformer.solvers import advance
from meanformer.theory import predictions
from meanformer.theory.spectrum import leading_space
from meanformer.theory.theorems.setting import End, Setting

HYPERPLANES = [[0.64709742, 0.81911926], [0.61210449, 0.63263484]]
BOX = {"kind": "box", "lower": [-5.0, -5.0], "upper": [5.0, 5.0]}
SPHERE = {"kind": "sphere", "dimension": 3}


def case(end, attention, initial, space=None, number=20, **tables):
    space = space or {"kind": "euclidean", "dimension": 2, "rescaled": True}
    given = {
        "space": space,
        "attention": {"beta": 1.0} | attention,
        "initial": initial,
        "time": {"end": end, "sample_every": end / 8},
        "output": {"fields": ["none"]},
    }
    if number:
        given["particles"] = {"number": number}
    return Case.from_dict(given | tables)


def outcomes(one):
    asked = [each for each in predict(one) if each.applies]
    found = verify(one, asked).deviations
    return {each.theorem.name: deviation for each, deviation in zip(asked, found, strict=True)}


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("one", "names"),
    [
        (case(10.0, {}, BOX), {"polytope"}),
        (case(10.0, {"value": HYPERPLANES}, BOX), {"hyperplanes"}),
        (
            case(
                9.0,
                {},
                {"kind": "box", "lower": [-5.0], "upper": [5.0]},
                {"kind": "euclidean", "dimension": 1},
            ),
            {"boolean", "hyperplanes", "polytope"},
        ),
        (
            case(40.0, {"value": -1.0}, BOX, {"kind": "euclidean", "dimension": 2}),
            {"repulsive"},
        ),
    ],
    ids=["polytope", "hyperplanes", "boolean", "repulsive"],
)
def test_tokens_in_space_end_where_they_should(one, names):
    found = outcomes(one)
    assert set(found) == names
    for name, deviation in found.items():
        assert deviation.agrees, (name, deviation)


@pytest.mark.mpi
def test_a_short_run_does_not_agree():
    (deviation,) = outcomes(case(0.5, {"value": HYPERPLANES}, BOX)).values()
    assert not deviation.agrees and deviation.number > 0.1


@pytest.mark.mpi
def test_tokens_in_a_hemisphere_meet_whatever_the_queries():
    query = [[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    cap = {"kind": "von-mises-fisher", "mean": [0.0, 0.0, 1.0], "concentration": 12.0}
    (deviation,) = outcomes(case(12.0, {"query": query}, cap, SPHERE)).values()
    assert deviation.agrees and deviation.number < 1e-3


def test_causal_tokens_follow_the_first_whatever_the_queries():
    attention = {"causal": True, "query": [[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]}
    found = outcomes(case(40.0, attention, {"kind": "uniform"}, SPHERE))
    assert found["leader"].agrees and found["leader"].number < 1e-3


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
def test_tokens_at_equal_angles(law):
    points = (np.eye(3) + 0.2).tolist()
    unit = [[x / np.linalg.norm(row) for x in row] for row in points]
    one = case(
        1.5,
        {"law": law, "beta": 3.0, "value": 0.7},
        {"kind": "tokens", "points": unit},
        SPHERE,
        0,
        particles={},
    )
    found = outcomes(one)
    assert found["equiangular"].agrees and found["equiangular"].number < 1e-5


CAP = {"kind": "von-mises-fisher", "mean": [0.0, 1.0], "concentration": 1.0}
CIRCLE = {"kind": "sphere", "dimension": 2}


@pytest.mark.parametrize(
    ("attention", "temperature", "initial", "end", "name"),
    [
        ({}, 0.3, CAP, 12.0, "noise"),
        ({}, 0.6, CAP, 20.0, "noise"),
        ({"beta": 0.0}, 0.3, CAP, 15.0, "mean"),
        ({"beta": 0.0, "value": -1.0}, 0.0, CAP, 12.0, "mean"),
        ({"beta": 5.0}, 0.0, {"kind": "harmonic", "degree": 3, "amplitude": 1e-3}, 3.0, "growth"),
        (
            {"beta": 2.0, "value": -1.0},
            0.1,
            {"kind": "harmonic", "degree": 2, "amplitude": 0.05},
            2.0,
            "growth",
        ),
        ({"law": "unnormalised", "beta": 2.0}, 0.2, CAP, 2.0, "energy"),
    ],
)
def test_densities_on_the_circle(attention, temperature, initial, end, name):
    pde = {"refinement": 2, "degree": 2}
    noise = {"temperature": temperature}
    found = outcomes(case(end, attention, initial, CIRCLE, 0, pde=pde, noise=noise))
    assert found[name].agrees, found


@pytest.mark.parametrize("law", ["softmax", "unnormalised", "sinkhorn"])
def test_the_energy_has_a_factor_of_the_sign_of_beta(law):
    cap = {"kind": "von-mises-fisher", "mean": [0.0, 0.0, 1.0], "concentration": 2.0}
    found = outcomes(case(2.0, {"law": law, "beta": -1.0}, cap, SPHERE))
    assert found["energy"].agrees
    assert "energy" not in outcomes(
        case(2.0, {"law": law, "beta": -1.0, "value": -1.0}, cap, SPHERE)
    )


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("attention", "temperature", "name"),
    [
        ({}, 0.2, "noise"),
        ({"law": "unnormalised"}, 0.8, "noise"),
        ({"beta": 0.0}, 0.2, "mean"),
        ({"beta": 0.0}, 0.7, "mean"),
    ],
)
def test_tokens_with_noise_on_the_sphere(attention, temperature, name):
    noise = {"temperature": temperature}
    cap = {"kind": "von-mises-fisher", "mean": [0.0, 0.0, 1.0], "concentration": 1.5}
    deviation = outcomes(case(8.0, attention, cap, SPHERE, 3000, noise=noise))[name]
    assert deviation.agrees and deviation.bound < 0.25, deviation
    # A run that is too short to forget where it began does not.
    short = outcomes(case(0.1, attention, cap, SPHERE, 3000, noise=noise))[name]
    assert not short.agrees, short


def test_a_case_without_a_theorem_is_run_all_the_same():
    one = case(1.0, {"value": [[0.0, -1.0], [1.0, 0.0]]}, BOX)
    verification = verify(one, [])
    assert verification.agrees and verification.deviations == []


def test_what_cannot_run_is_refused():
    one = case(400.0, {}, BOX)
    with pytest.raises(CaseError, match=r"time\.end"):
        verify(one, [])


def draw(seed, dimension, kind):
    """A model with random matrices, and twenty tokens."""
    rng = np.random.default_rng([seed, dimension, kind])
    query, key, value = rng.normal(size=(3, dimension, dimension)) / np.sqrt(dimension)
    scale = rng.uniform(0.5, 2)
    if kind == 1:  # a multiple leading eigenvalue, or a simple one in the plane
        count = int(rng.integers(2, dimension)) if dimension > 2 else 1
        others = rng.uniform(-0.8, 0.8, size=dimension - count)
        basis = rng.normal(size=(dimension, dimension))
        value = basis @ np.diag([1.0] * count + list(others)) @ np.linalg.inv(basis) * scale
        key = query
    elif kind == 2:
        value, key = scale * np.eye(dimension), query
    elif kind == 3:
        value, query, key = -scale * np.eye(dimension), np.eye(dimension), np.eye(dimension)
    return Attention(query=query, key=key, value=value), rng.uniform(-2, 2, size=(20, dimension))


def run_time(setting, name):
    """Late enough for the theorem to show; later, some rows of P stay undecided, and are stiff."""
    if name == "repulsive":
        rate = -2 * setting.product[0, 0] * setting.value[0, 0]
        return 1000 / rate
    return 14.0 / leading_space(setting.value).eigenvalue.real


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [2, 3, 8])
def test_random_draws_end_where_theorems_say(dimension):
    # 40 generic triples of matrices, and 9 of each kind that a theorem is about.
    called, abstained = 0, 0
    for kind, count in enumerate([40, 9, 9, 9]):
        for seed in range(count):
            attention, tokens = draw(seed, dimension, kind)
            setting = Setting(attention, Euclidean(dimension), tokens=tokens)
            applying = [each for each in predictions(setting) if each.applies]
            abstained += not applying
            for each in applying:
                name = each.theorem.name
                time = run_time(setting, name)
                rescaled = name != "repulsive"
                solver = TokenSolver(
                    tokens, attention, Euclidean(dimension), MPI.COMM_SELF, rescaled=rescaled
                )
                end = End(setting, time, advance(solver, time).points, rescaled=rescaled)
                deviation = each.deviation(end)
                assert deviation.agrees, (kind, seed, name, deviation)
                called += 1
    assert called > 20 and abstained > 20
