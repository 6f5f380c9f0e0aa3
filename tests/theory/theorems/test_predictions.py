"""Which theorem applies to which setting: every hypothesis is broken once."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean, Head, LinearDrift, Schedule, Sphere
from meanformer.attention.measures import Uniform, VonMisesFisher, ZonalHarmonic
from meanformer.particles import TokenSolver
from meanformer.solvers import advance
from meanformer.theory import THEOREMS, growth, predictions
from meanformer.theory.theorems.base import Deviation
from meanformer.theory.theorems.setting import End, Setting
from meanformer.theory.theorems.sphere import depth_in_a_hemisphere

HYPERPLANES = [[0.64709742, 0.81911926], [0.61210449, 0.63263484]]
BASIS = np.array([[1.0, 0.4, -0.3], [0.2, 1.0, 0.5], [-0.6, 0.1, 1.0]])


def with_eigenvalues(*values):
    return BASIS @ np.diag(values) @ np.linalg.inv(BASIS)


def cloud(dimension=2, number=12, seed=0):
    return np.random.default_rng(seed).uniform(-5, 5, size=(number, dimension))


def setting(model=None, space=Euclidean(2), tokens="cloud", **others):
    if isinstance(tokens, str):
        tokens = cloud(space.dimension)
        if isinstance(space, Sphere):
            tokens = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    return Setting(model or Attention(), space, tokens=tokens, **others)


def applying(one):
    return {each.theorem.name for each in predictions(one) if each.applies}


def failing(one, name):
    """The hypotheses of a theorem that keep it from applying."""
    (found,) = [each for each in predictions(one) if each.theorem.name == name]
    return [each for each in found.hypotheses if not each.holds]


def test_names_are_of_one_theorem_each():
    assert len({theorem.name for theorem in THEOREMS}) == len(THEOREMS)


@pytest.mark.parametrize(
    ("model", "space", "names"),
    [
        (Attention(), Euclidean(1), {"boolean", "polytope", "hyperplanes"}),
        (Attention(), Euclidean(3), {"polytope"}),
        (Attention(query=[[2, 0.5], [0.5, 1]], value=0.5), Euclidean(2), {"polytope"}),
        (Attention(value=HYPERPLANES), Euclidean(2), {"hyperplanes"}),
        (Attention(value=with_eigenvalues(1, 1, -0.5)), Euclidean(3), {"polytope x subspace"}),
        (Attention(value=with_eigenvalues(1, 0.3, -0.5)), Euclidean(3), {"hyperplanes"}),
        (Attention(value=-2.0, beta=3.0), Euclidean(3), {"repulsive"}),
        (Attention(value=-2.0, beta=-3.0), Euclidean(3), set()),
        (Attention(value=[[0, -1], [1, 0]]), Euclidean(2), set()),
        (Attention(value=HYPERPLANES, beta=-1.0), Euclidean(2), set()),
        (Attention(value=[[1, 1], [0, 1]]), Euclidean(2), set()),
        (Attention("l2"), Euclidean(2), set()),
    ],
)
def test_of_tokens_in_space(model, space, names):
    assert applying(setting(model, space)) == names


@pytest.mark.parametrize(
    "changed",
    [
        {"tokens": None},
        {"temperature": 0.1},
        {"model": Attention("unnormalised")},
        {"model": Attention(heads=(Head(), Head()))},
        {"model": Schedule([Attention(), Attention(value=2.0)])},
        {"model": Attention(drift=LinearDrift(0.1 * np.eye(2)))},
        {"model": Attention(relative=True)},
        {"in_layers": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_all_theorems_in_space_assume(changed):
    assert applying(setting(**changed)) == set()


def test_what_fails_is_named_with_its_number():
    query = [[1, 0.1], [0, 1]]
    (broken,) = failing(setting(Attention(query=query)), "polytope")
    assert "symmetric" in broken.statement and broken.number == pytest.approx(0.1, rel=0.1)
    (broken,) = failing(setting(Attention(query=[[1, 0], [0, -1]])), "polytope")
    assert "positive definite" in broken.statement and broken.number == pytest.approx(-1)
    tokens = np.array([[0.0], [1.0], [1.0]])
    (broken,) = failing(setting(space=Euclidean(1), tokens=tokens), "boolean")
    assert "one place" in broken.statement and broken.number == 0


def test_what_holds_by_too_little_is_not_called():
    near = setting(Attention(value=np.diag([1.0, 0.96])))
    (gap,) = failing(near, "hyperplanes")
    assert gap.verdict == "too close" and gap.number == pytest.approx(0.04)
    assert applying(setting(Attention(value=np.diag([1.0, 0.9])))) == {"hyperplanes"}
    # <Q phi, K phi> is 0.02 |A|.
    query = np.array([[0.02, 1.0], [1.0, 0.0]])
    (aligned,) = failing(setting(Attention(query=query, value=np.diag([1.0, 0.1]))), "hyperplanes")
    assert aligned.verdict == "too close" and "phi" in aligned.statement


def test_a_value_of_small_positive_part_against_its_norm():
    shear = np.array([[1e-3, 10.0], [0.0, -1e-4]])
    assert applying(setting(Attention(value=shear))) == set()


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Attention(beta=2.0), {"consensus", "energy"}),
        (Attention(beta=2.0, value=-1.0), set()),
        (Attention(beta=2.0, query=[[1, 2, 0], [0, 1, 0], [0, 0, 1]]), set()),
        (Attention(beta=0.0), {"consensus", "mean"}),
        (Attention("sinkhorn", beta=2.0), {"energy"}),
        (Attention("linear", beta=2.0), set()),
        (Attention(beta=2.0, query=[[1, 2, 0], [0, 1, 0], [0, 0, 1]], causal=True), {"leader"}),
        (Attention(causal=True, decay=1.0), set()),
        (Attention(causal=True, sees_itself=False), set()),
        (Attention(causal=True, value=-1.0), set()),
        (Attention("unnormalised", causal=True), set()),
    ],
)
def test_of_tokens_on_the_sphere(model, names):
    assert applying(setting(model, Sphere(3))) == names


def test_none_is_of_layers():
    assert applying(setting(Attention(beta=2.0), Sphere(3), in_layers=True)) == set()


def test_in_a_hemisphere_any_queries_and_keys_will_do():
    points = cloud(3) + np.array([0, 0, 6.0])
    tokens = points / np.linalg.norm(points, axis=1, keepdims=True)
    model = Attention(beta=2.0, query=[[1, 2, 0], [0, 1, 0], [0, 0, 1]])
    assert applying(setting(model, Sphere(3), tokens)) == {"hemisphere"}


def test_a_prompt_is_beyond_all_theorems():
    for model, space in ((Attention(), Euclidean(2)), (Attention(causal=True), Sphere(3))):
        assert applying(setting(model, space)) and not applying(
            setting(model, space, has_prompt=True)
        )


def test_a_token_opposite_to_the_leader_may_rest():
    tokens = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0]])
    (broken,) = failing(setting(Attention(causal=True), Sphere(3), tokens), "leader")
    assert broken.number == 0
    assert applying(setting(Attention(causal=True), Sphere(3), tokens[[0, 2]])) == {"leader"}


def test_the_circle_knows_no_consensus():
    assert "consensus" not in applying(setting(Attention(beta=2.0), Sphere(2)))


def test_two_tokens_are_at_equal_angles():
    two = np.array([[1.0, 0, 0], [0.6, 0.8, 0]])
    one = setting(Attention(beta=2.0), Sphere(3), two)
    assert applying(one) == {"hemisphere", "consensus", "equiangular", "energy"}
    three = np.vstack([two, [[0.0, 0.0, 1.0]]])
    (broken,) = failing(setting(Attention(beta=2.0), Sphere(3), three), "equiangular")
    assert broken.number == pytest.approx(0.6)


def density(model=None, measure=None, temperature=0.0, dimension=3):
    measure = measure or VonMisesFisher((0.0,) * (dimension - 1) + (1.0,), 2.0)
    return Setting(
        model or Attention(), Sphere(dimension), temperature, measure=measure, has_density=True
    )


@pytest.mark.parametrize(
    ("one", "name", "text"),
    [
        (density(Attention(beta=0.0)), "mean", "tends to one point"),
        (density(Attention(beta=0.0, value=-1.0)), "mean", "mean tends to 0"),
        (density(Attention(beta=0.0), temperature=0.4), "mean", "to the uniform one"),
        (density(Attention(beta=0.0), temperature=0.2), "mean", "0.725882"),
        (density(temperature=0.25042823), "noise", "0.524169"),
        (density(temperature=0.5), "noise", "uniform"),
        (density(measure=ZonalHarmonic(2, 0.01, (0.0, 0.0, 1.0))), "growth", "fastest is degree 1"),
        (density(Attention(value=-1.0), Uniform(3)), "growth", "linearly stable"),
        (density(Attention("unnormalised"), temperature=0.3), "energy", "never grows"),
    ],
)
def test_of_densities_on_the_sphere(one, name, text):
    found = {each.theorem.name: each.limit for each in predictions(one) if each.applies}
    assert name in found and text in found[name], found


def test_noise_is_not_called_where_other_degrees_grow_or_two_states_are_stable():
    (broken,) = failing(density(Attention(beta=9.0), temperature=0.05), "noise")
    assert "from 2 on decay" in broken.statement
    # Beyond beta_* = 2.4469 on the circle the transition is discontinuous.
    law = Attention("unnormalised", beta=8.0)
    first = growth.thresholds("unnormalised", 8.0, 1.0, np.array([1.0]), 2)[0]
    (broken,) = failing(density(law, temperature=1.06 * first, dimension=2), "noise")
    assert "beside the uniform one" in broken.statement
    (broken,) = failing(density(law, temperature=0.97 * first, dimension=2), "noise")
    assert "away from its threshold" in broken.statement and broken.verdict == "too close"


@pytest.mark.parametrize("dimension", [2, 3, 8])
def test_depth_in_a_hemisphere(dimension):
    rng = np.random.default_rng(dimension)
    for _ in range(10):
        points = rng.normal(size=(30, dimension)) + 2 * np.eye(dimension)[0]
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        directions = rng.normal(size=(20_000, dimension)) / 4 + np.eye(dimension)[0]
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        seen = (points @ directions.T).min(axis=0).max()
        depth = depth_in_a_hemisphere(points)
        assert depth <= 1 and depth >= seen / np.sqrt(dimension) - 1e-12
        if dimension == 2:
            assert depth <= max(seen, 0.0) + 1e-3
    opposite = np.vstack([np.eye(dimension), -np.eye(dimension)])
    assert depth_in_a_hemisphere(opposite) < 1e-12


def test_deviations_of_what_is_known():
    one = setting()
    assert Deviation("", np.float64(0.5), 0.5).agrees is True  # JSON knows no other
    assert Deviation("", 0.5, 0.5).agrees and not Deviation("", np.nan, 1.0).agrees
    (polytope,) = [each for each in predictions(one) if each.applies]
    square = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1], [1, 0], [0, 0]])
    at_rest = End(one, 9.0, square, rescaled=True)
    assert polytope.deviation(at_rest).number < 1e-9
    moved = End(one, 9.0, np.vstack([square, [[1.0, 0.5]]]), rescaled=True)
    assert polytope.deviation(moved).number == pytest.approx(0.5 / np.sqrt(2))
    planes = setting(Attention(value=np.diag([1.0, 0.1])))
    (hyperplanes,) = [each for each in predictions(planes) if each.applies]
    z = np.array([[-2.0, 5], [-2, 1], [0, 3], [4, 4]])
    assert hyperplanes.deviation(End(planes, 9.0, z, rescaled=True)).number == 0
    shifted = End(planes, 9.0, z + np.array([1.0, 0.0]), rescaled=True)
    assert hyperplanes.deviation(shifted).number == 0.2
    # Tokens x are brought to z.
    x = z * np.exp([0.9, 0.09])
    assert hyperplanes.deviation(End(planes, 0.9, x)).number < 1e-12
    others = [each for each in predictions(one) if not each.applies]
    with pytest.raises(ValueError, match="does not apply"):
        others[0].deviation(at_rest)


def test_noise_is_not_called_where_its_stationary_density_is_not_found():
    one = density(Attention(beta=700.0), temperature=0.01)
    assert [each.statement for each in failing(one, "noise")] == [
        "the iteration for the stationary density converges"
    ]


E1, E2, E3 = np.eye(3)


def on_sphere(model, *tokens):
    return setting(model, Sphere(3), np.array(tokens))


def test_given_tokens_at_rest_do_not_meet():
    opposite = on_sphere(Attention(), E1, -E1)
    (broken,) = failing(opposite, "consensus")
    assert "at rest" in broken.statement and abs(broken.number) < 1e-9
    assert "consensus" in applying(on_sphere(Attention(), E1, -E1, E2))
    # Three in one place hold the fourth where it is.
    assert "mean" not in applying(on_sphere(Attention(beta=0.0), E1, E1, E1, -E1))


def test_a_repelled_majority_in_one_place_keeps_its_mean():
    away = Attention(beta=0.0, value=-1.0)
    for tokens, applies in [((E1,), False), ((E1, E1, E2), False), ((E1, E2), True)]:
        assert ("mean" in applying(on_sphere(away, *tokens))) == applies


@pytest.mark.parametrize(
    ("value", "tokens", "tends"),
    [
        (0.0, (E1, E2), "0"),
        (1.0, (E1, E2), "1"),
        (1.0, (E1, -E1), "-1"),
        (-1.0, (E1, E1), "1"),
        (-1.0, (E1, E2, E3), "-0.5"),
    ],
)
def test_where_equal_angles_tend_to(value, tokens, tends):
    one = on_sphere(Attention(value=value), *tokens)
    (found,) = [each for each in predictions(one) if each.theorem.name == "equiangular"]
    assert found.limit.endswith(f"g tends to {tends}")


def test_a_uniform_density_has_no_mean_though_its_tokens_have():
    model, tokens = Attention(beta=0.0), np.array([E1, E2, E3])
    both = Setting(model, Sphere(3), tokens=tokens, measure=Uniform(3), has_density=True)
    (broken,) = failing(both, "mean")
    assert "mean at t = 0" in broken.statement and broken.number < 0.02


def test_few_tokens_are_no_uniform_density():
    tokens = cloud(3, 200) / np.linalg.norm(cloud(3, 200), axis=1, keepdims=True)
    for count, applies in [(20, False), (200, True)]:
        one = Setting(Attention(), Sphere(3), tokens=tokens[:count], measure=Uniform(3))
        assert ("growth" in applying(one)) == applies


def test_mean_shift_is_another_model():
    assert applying(setting(Attention(relative=True))) == set()


def test_repelled_tokens_fill_the_space_of_their_differences():
    away = Attention(value=-1.0)
    assert applying(setting(away, tokens=np.ones((1, 2)))) == set()
    assert applying(setting(away, tokens=np.ones((5, 2)))) == set()
    # Two of three are in one place, and all on a line beside 0.
    one = setting(away, tokens=np.array([[0.0, 1.0], [0.0, 1.0], [3.0, 1.0]]))
    solver = TokenSolver(one.tokens, away, Euclidean(2), MPI.COMM_SELF)
    end = End(one, 300.0, advance(solver, 300.0).points)
    (found,) = [each for each in predictions(one) if each.applies]
    assert "1 dimensions" in found.limit and found.deviation(end).agrees


@pytest.mark.parametrize(("number", "dimension"), [(6, 8), (1000, 8), (40, 80)])
def test_hulls_of_too_many_facets_or_without_interior_show_nothing(number, dimension):
    one = setting(space=Euclidean(dimension), tokens=cloud(dimension, number))
    (found,) = [each for each in predictions(one) if each.applies]
    assert found.theorem.name == "polytope"
    assert found.deviation(End(one, 9.0, one.tokens, rescaled=True)) is None
