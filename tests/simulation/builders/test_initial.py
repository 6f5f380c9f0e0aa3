"""The table [initial] in every space: what is refused and how, and the measure it becomes."""

import tomllib

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Euclidean, Sphere
from meanformer.attention import measures as m
from meanformer.coupling import sample_tokens
from meanformer.simulation.builders.model import initial_measure
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.case.tokens import Tokens

CIRCLE, SPHERE = ({"kind": "sphere", "dimension": dimension} for dimension in (2, 3))
LINE, PLANE, ROOM = ({"kind": "euclidean", "dimension": dimension} for dimension in (1, 2, 3))
MODEL = {"attention": {"beta": 1.0}, "time": {"end": 1.0}, "particles": {}}


def check(space, folder=".", **initial):
    return Case.from_dict({**MODEL, "space": space, "initial": initial}, folder).initial


def problems_of(space, **initial):
    with pytest.raises(CaseError) as caught:
        check(space, **initial)
    return caught.value.problems


GAUSSIAN = {"kind": "gaussian", "mean": [0, 1], "covariance": 0.5}
BOX = {"kind": "box", "lower": [-1, 0], "upper": [1, 2]}
BALL = {"kind": "ball", "centre": [0.5, -1], "radius": 2}
CAP = {"kind": "von-mises-fisher", "mean": [3, 4], "concentration": 2}
ON_SPHERES = "uniform, von-mises-fisher, poisson-kernel, harmonic"
MATRIX = "must be a positive number (multiple of the identity) or a covariance matrix [[...], ...]"
POSITIVE = "must be symmetric and positive definite"


class TestKinds:
    @pytest.mark.parametrize("kind", ["gaussian", "box", "ball"])
    @pytest.mark.parametrize("keys", [{}, {"mean": [0, 0, 0]}, {"nonsense": 1}], ids=str)
    def test_of_euclidean_space_on_the_sphere(self, kind, keys):
        assert problems_of(SPHERE, kind=kind, **keys) == (
            f"initial.kind: '{kind}' is not allowed with space.kind = 'sphere'; "
            f"allowed: {ON_SPHERES}, mixture, tokens",
        )

    @pytest.mark.parametrize("kind", ON_SPHERES.split(", "))
    def test_of_the_sphere_in_euclidean_space(self, kind):
        assert problems_of(PLANE, kind=kind) == (
            f"initial.kind: '{kind}' is not allowed with space.kind = 'euclidean'; "
            "allowed: gaussian, box, ball, mixture, tokens",
        )

    def test_of_components(self):
        components = [GAUSSIAN, CAP, BOX, {"kind": "uniform", "weight": 0}]
        assert problems_of(PLANE, kind="mixture", components=components) == (
            "initial.components[1].kind: 'von-mises-fisher' is not allowed with "
            "space.kind = 'euclidean'; allowed: gaussian, box, ball",
            "initial.components[3].kind: 'uniform' is not allowed with "
            "space.kind = 'euclidean'; allowed: gaussian, box, ball",
        )
        assert problems_of(CIRCLE, kind="mixture", components=[CAP, GAUSSIAN]) == (
            "initial.components[1].kind: 'gaussian' is not allowed with "
            f"space.kind = 'sphere'; allowed: {ON_SPHERES}",
        )
        for kind in ("mixture", "tokens"):
            assert problems_of(PLANE, kind="mixture", components=[{"kind": kind}]) == (
                f"initial.components[0].kind: '{kind}' is not allowed; "
                "allowed: gaussian, box, ball",
            )

    def test_harmonics_on_spheres_of_more_dimensions(self):
        (problem,) = problems_of({"kind": "sphere", "dimension": 4}, kind="harmonic")
        assert problem == (
            "initial.kind: 'harmonic' is not allowed with space.dimension = 4 on a sphere; "
            "allowed: uniform, von-mises-fisher, poisson-kernel, mixture, tokens"
        )

    def test_tokens_on_spheres_of_more_dimensions(self):
        table = check({"kind": "sphere", "dimension": 4}, kind="tokens", points=[[0, 0, 0, 1]])
        assert table.load().tolist() == [[0, 0, 0, 1]]

    def test_misspelt(self):
        assert problems_of(PLANE, kind="guassian") == (
            "initial.kind: 'guassian' is not allowed; "
            "allowed: gaussian, box, ball, mixture, tokens; did you mean 'gaussian'?",
        )
        (problem,) = problems_of(PLANE, kind="x" * 1000)
        assert len(problem) < 200

    @pytest.mark.parametrize("kind", [3, None, ["gaussian"], True])
    def test_no_string(self, kind):
        (problem,) = problems_of(PLANE, kind=kind)
        assert problem.startswith("initial.kind: ") and "allowed: " in problem

    @pytest.mark.parametrize("components", [3, [], [3], {}, "box", None])
    def test_malformed_components(self, components):
        problems = problems_of(PLANE, kind="mixture", components=components)
        assert all(line.startswith("initial.components") for line in problems)

    def test_without_a_kind(self):
        (problem,) = problems_of(PLANE, mean=[0, 0])
        assert problem.startswith("initial.kind: missing; allowed: ")

    def test_nothing_is_told_about_a_wrong_space(self):
        for initial in (GAUSSIAN, {**BOX, "upper": [1]}):
            (problem,) = problems_of({"kind": "torus", "dimension": 2}, **initial)
            assert problem.startswith("space.kind: ")


class TestGaussian:
    def test_multiple_of_the_identity(self):
        measure = initial_measure(check(PLANE, **GAUSSIAN), 2)
        assert measure == m.Gaussian((0.0, 1.0), 0.5)
        assert np.array_equal(measure.moments()[1], 0.5 * np.eye(2))

    def test_matrix(self):
        table = check(PLANE, kind="gaussian", mean=[0, 1], covariance=[[2, 1], [1, 3]])
        assert table.covariance == ((2.0, 1.0), (1.0, 3.0))
        assert hash(table)
        mean, covariance = initial_measure(table, 2).moments()
        assert np.array_equal(mean, [0, 1]) and np.array_equal(covariance, [[2, 1], [1, 3]])

    def test_in_one_dimension(self):
        number = check(LINE, kind="gaussian", mean=[1], covariance=4)
        matrix = check(LINE, kind="gaussian", mean=[1], covariance=[[4]])
        x = np.linspace(-3, 3, 7)[:, None]
        first, second = (initial_measure(table, 1).density(x) for table in (number, matrix))
        assert np.array_equal(first, second)

    def test_round_off_is_no_asymmetry(self):
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        rows = (turn @ np.diag([1.0, 2.0, 3e-4]) @ turn.T).tolist()
        table = check(ROOM, kind="gaussian", mean=[0, 0, 0], covariance=rows)
        kept = np.array(table.covariance)
        assert np.array_equal(kept, kept.T) and np.abs(kept - rows).max() < 1e-15
        again = check(ROOM, kind="gaussian", mean=[0, 0, 0], covariance=kept.tolist())
        assert again == table

    @pytest.mark.parametrize(
        ("covariance", "message"),
        [
            (0, f"0 is not allowed; {MATRIX}"),
            (-1.5, f"-1.5 is not allowed; {MATRIX}"),
            (float("nan"), f"nan is not allowed; {MATRIX}"),
            (True, f"true is not allowed; {MATRIX}"),
            ("identity", f"'identity' is not allowed; {MATRIX}"),
            ([], f"[] is not allowed; {MATRIX}"),
            ([1, 2], f"[1, 2] is not allowed; {MATRIX}"),
            ([[1, "a"], [0, 1]], f"[[1, 'a'], [0, 1]] is not allowed; {MATRIX}"),
            ([[1, float("inf")], [0, 1]], f"[[1, inf], [0, 1]] is not allowed; {MATRIX}"),
            ([[1, 0], [0]], f"has rows of different lengths; {POSITIVE}"),
            ([[]], f"has shape (1, 0); {POSITIVE}"),
            ([[1, 0]], f"has shape (1, 2); {POSITIVE}"),
            ([[1, 0.5], [0.4, 1]], f"is not symmetric: 0.5 at [0][1], 0.4 at [1][0]; {POSITIVE}"),
            ([[1, 0], [0, -2]], f"is not positive definite: -2 at [1][1]; {POSITIVE}"),
            ([[1, 2], [2, 1]], f"is not positive definite; {POSITIVE}"),
            ([[1, 1], [1, 1]], f"is singular to round-off; {POSITIVE}"),
            ([[1]], "has shape (1, 1); must have shape (2, 2), or be a positive number"),
            (
                np.eye(3).tolist(),
                "has shape (3, 3); must have shape (2, 2), or be a positive number",
            ),
        ],
        ids=str,
    )
    def test_wrong_covariances(self, covariance, message):
        problems = problems_of(PLANE, kind="gaussian", mean=[0, 1], covariance=covariance)
        assert problems == (f"initial.covariance: {message}",)
        component = {"kind": "gaussian", "mean": [0, 1], "covariance": covariance}
        problems = problems_of(PLANE, kind="mixture", components=[BOX, component])
        assert problems == (f"initial.components[1].covariance: {message}",)

    def test_wrong_means(self):
        assert problems_of(PLANE, kind="gaussian", mean=[0, 1, 2], covariance=1) == (
            "initial.mean: has 3 entries; must have 2, one for each dimension of space",
        )
        assert problems_of(PLANE, kind="gaussian", mean=[], covariance=1) == (
            "initial.mean: has 0 entries; must have 2, one for each dimension of space",
        )
        (problem,) = problems_of(PLANE, kind="gaussian", mean=[0, float("inf")], covariance=1)
        assert problem.startswith("initial.mean[1]: inf is not allowed")

    def test_missing_and_misspelt_keys(self):
        problems = problems_of(PLANE, kind="gaussian", mean=[0, 0], covarience=1)
        assert [line.split(":")[0] for line in problems] == [
            "initial.covariance",
            "initial.covarience",
        ]
        assert MATRIX in problems[0] and "did you mean 'covariance'?" in problems[1]


class TestBox:
    def test_becomes_a_measure(self):
        assert initial_measure(check(PLANE, **BOX), 2) == m.Box((-1.0, 0.0), (1.0, 2.0))

    def test_wrong_corners(self):
        assert problems_of(PLANE, kind="box", lower=[0, 2], upper=[1, 2]) == (
            "initial.lower[1]: 2.0 is not allowed; must be a number < upper[1], 2.0",
        )
        assert problems_of(PLANE, kind="box", lower=[1, 2], upper=[0, 1]) == (
            "initial.lower[0]: 1.0 is not allowed; must be a number < upper[0], 0.0",
            "initial.lower[1]: 2.0 is not allowed; must be a number < upper[1], 1.0",
        )
        assert problems_of(LINE, kind="box", lower=[-1e308], upper=[1e308]) == (
            "initial.lower[0]: -1e+308 is not allowed; must be a finite distance from upper[0], "
            "1e+308",
        )

    def test_wrong_lengths(self):
        assert problems_of(PLANE, kind="box", lower=[0, 0], upper=[1]) == (
            "initial.upper: has 1 entries; must have 2, one for each dimension of space",
        )
        assert problems_of(ROOM, **BOX) == (
            "initial.lower: has 2 entries; must have 3, one for each dimension of space",
            "initial.upper: has 2 entries; must have 3, one for each dimension of space",
        )

    def test_as_a_component(self):
        wrong = {"kind": "box", "lower": [0, 3], "upper": [1, 2], "weight": 2}
        assert problems_of(PLANE, kind="mixture", components=[GAUSSIAN, wrong]) == (
            "initial.components[1].lower[1]: 3.0 is not allowed; must be a number < upper[1], 2.0",
        )


class TestBall:
    def test_becomes_a_measure(self):
        assert initial_measure(check(PLANE, **BALL), 2) == m.Ball((0.5, -1.0), 2.0)

    @pytest.mark.parametrize("radius", [0, -1.0, float("inf"), "2", None])
    def test_wrong_radii(self, radius):
        (problem,) = problems_of(PLANE, **BALL | {"radius": radius})
        assert problem.startswith("initial.radius: ") and problem.endswith("number > 0")

    def test_wrong_centres(self):
        assert problems_of(ROOM, **BALL) == (
            "initial.centre: has 2 entries; must have 3, one for each dimension of space",
        )
        centre, center = problems_of(PLANE, kind="ball", center=[0, 0], radius=1)
        assert centre.startswith("initial.centre: missing")
        assert center.startswith("initial.center: ") and "did you mean 'centre'?" in center

    def test_as_a_component(self):
        parts = [GAUSSIAN, {**BALL, "radius": -2, "weight": 2}]
        (problem,) = problems_of(PLANE, kind="mixture", components=parts)
        assert problem.startswith("initial.components[1].radius: -2")


class TestMeasures:
    def test_on_the_circle(self):
        parts = [
            {"kind": "uniform"},
            {**CAP, "weight": 2},
            {"kind": "poisson-kernel", "a": [0.1, 0]},
            {"kind": "harmonic", "degree": 3, "amplitude": 0.5},
        ]
        measure = initial_measure(check(CIRCLE, kind="mixture", components=parts), 2)
        assert measure.space == Sphere(2)
        assert measure == m.Mixture(
            (
                m.Uniform(2),
                m.VonMisesFisher((0.6, 0.8), 2.0),
                m.PoissonKernel((0.1, 0.0)),
                m.ZonalHarmonic(3, 0.5, (0.0, 1.0)),
            ),
            (1.0, 2.0, 1.0, 1.0),
        )

    def test_on_the_sphere(self):
        assert initial_measure(check(SPHERE, kind="uniform"), 3) == m.Uniform()

    def test_of_the_plane(self):
        components = [{**GAUSSIAN, "weight": 3}, BOX, BALL]
        measure = initial_measure(check(PLANE, kind="mixture", components=components), 2)
        assert measure.space == Euclidean(2)
        assert measure == m.Mixture(
            (
                m.Gaussian((0.0, 1.0), 0.5),
                m.Box((-1.0, 0.0), (1.0, 2.0)),
                m.Ball((0.5, -1.0), 2.0),
            ),
            (3.0, 1.0, 1.0),
        )

    @pytest.mark.parametrize("covariance", [0.1, [[0.1, 0.03], [0.03, 2.0]]], ids=str)
    def test_cases_load_again_as_they_are_written(self, covariance):
        parts = [{"kind": "gaussian", "mean": [0, 1], "covariance": covariance}, BOX, BALL]
        initial = {"kind": "mixture", "components": parts}
        case = Case.from_dict({**MODEL, "space": PLANE, "initial": initial})
        again = Case.from_dict(tomllib.loads(case.to_toml()))
        assert again == case and hash(again) == hash(case)

    def test_of_another_circle(self):
        assert problems_of(SPHERE, **CAP) == (
            "initial.mean: has 2 entries; must have 3, one for each dimension of space",
        )

    def test_tokens_have_none(self):
        with pytest.raises(TypeError, match="Tokens has no density"):
            initial_measure(check(LINE, kind="tokens", points=[[1.0]]), 1)


class TestTokens:
    POINTS = np.array([[3.0, -4.0], [0.0, 0.0], [1e-30, 1e200]])

    def test_any_points_of_euclidean_space(self, tmp_path):
        np.save(tmp_path / "tokens.npy", self.POINTS)
        for keys in ({"points": self.POINTS.tolist()}, {"file": "tokens.npy"}):
            table = check(PLANE, folder=tmp_path, kind="tokens", **keys)
            assert isinstance(table, Tokens) and table.number == 3
            assert np.array_equal(table.load("euclidean"), self.POINTS)

    def test_unit_vectors_of_the_circle(self):
        table = check(CIRCLE, kind="tokens", points=[[0.6000001, 0.8], [0, 1]])
        assert np.abs(np.linalg.norm(table.load("sphere"), axis=1) - 1).max() < 1e-15
        assert np.array_equal(table.load(), table.load("sphere"))
        (problem,) = problems_of(CIRCLE, kind="tokens", points=[[0.6, 0.8], [0.6, 0.9]])
        assert problem == (
            "initial.points[1]: has norm 1.08166538; must be a finite unit vector to 1e-06, "
            "or 'normalise' be true"
        )

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_points_that_are_not_finite(self, tmp_path, value):
        points = self.POINTS.copy()
        points[1, 0] = value
        np.save(tmp_path / "tokens.npy", points)
        (problem,) = problems_of(PLANE, folder=tmp_path, kind="tokens", file="tokens.npy")
        assert problem.startswith("initial.file: row 1 has norm ")
        assert problem.endswith("; each row must be finite")

    def test_wrong_shapes(self, tmp_path):
        np.save(tmp_path / "tokens.npy", np.ones(4))
        need = "must have shape (n, 1), n >= 1"
        keys = {"kind": "tokens", "file": "tokens.npy"}
        assert problems_of(LINE, folder=tmp_path, **keys) == (
            f"initial.file: has shape (4,); {need}",
        )
        assert problems_of(LINE, kind="tokens", points=[[1, 2]]) == (
            f"initial.points: has shape (1, 2); {need}",
        )


@pytest.mark.mpi
@pytest.mark.parametrize("space", [CIRCLE, PLANE], ids=["circle", "plane"])
def test_tokens_do_not_depend_on_the_number_of_ranks(space):
    parts = [CAP, {"kind": "uniform"}] if space is CIRCLE else [GAUSSIAN, BOX, BALL]
    measure = initial_measure(check(space, kind="mixture", components=parts), 2)
    comm = MPI.COMM_WORLD
    together = np.concatenate(comm.allgather(sample_tokens(measure, 1001, 5, comm)))
    assert together.shape == (1001, 2)
    assert np.array_equal(together, sample_tokens(measure, 1001, 5, MPI.COMM_SELF))
    assert np.array_equal(together[:10], sample_tokens(measure, 10, 5, MPI.COMM_SELF))
