"""The velocity and Z on the sphere against their definition, at any exponent."""

import numpy as np
import pytest

from meanformer.attention import Attention, Sphere

BETAS = [-10.0, 0.0, 1e-3, 1.0, 4.0, 9.0, 25.0, 100.0, 1000.0]
AXIS = np.array([2.0, -1.0, 2.0]) / 3
LAWS = ["softmax", "unnormalised"]
CASES = [("softmax", beta) for beta in BETAS] + [
    ("unnormalised", beta)
    for beta in BETAS
    if abs(beta) <= 600  # e^{beta} exceeds double precision soon after
]


def measure(on_sphere, kind):
    rng = np.random.default_rng(5)
    points = {
        "random": lambda: on_sphere(1, 200),
        "clustered": lambda: on_sphere(2, 200, centre=AXIS, width=0.1),
        "two clusters": lambda: np.concatenate(
            [
                on_sphere(3, 120, centre=AXIS, width=0.05),
                on_sphere(4, 80, centre=[0, 0, -1], width=0.3),
            ]
        ),
    }[kind]()
    weights = rng.uniform(0.1, 1, len(points))
    return points, weights / weights.sum()


def largest_error(got, wanted):
    """Largest error of any target, relative to the largest speed."""
    return np.linalg.norm(got - wanted, axis=1).max() / np.linalg.norm(wanted, axis=1).max()


def check(reference, attention, targets, points, weights, tolerance, backend, space=None):
    field = attention.evaluate(
        targets, points, weights, space or Sphere(3), tolerance, backend=backend
    )
    wanted = reference(attention, targets, points, weights)
    assert largest_error(field.velocity, wanted.velocity) <= tolerance
    if attention.law == "softmax":
        assert np.abs(np.expm1(field.log_partition - wanted.log_partition)).max() <= tolerance


@pytest.mark.parametrize(("law", "beta"), CASES)
class TestHarmonic:
    @pytest.mark.parametrize("tolerance", [1e-6, 1e-10])
    @pytest.mark.parametrize("kind", ["random", "clustered", "two clusters"])
    def test_meets_its_tolerance(self, reference, on_sphere, law, beta, kind, tolerance):
        points, weights = measure(on_sphere, kind)
        targets = np.concatenate([on_sphere(6, 90), points[:30], -points[:30]])
        attention = Attention(law, beta)
        check(reference, attention, targets, points, weights, tolerance, "harmonic")

    @pytest.mark.parametrize("tolerance", [1e-6, 1e-10])
    @pytest.mark.parametrize("width", [0.1, 0.5])
    def test_meets_its_tolerance_where_all_kernels_are_small(
        self, reference, on_sphere, law, beta, width, tolerance
    ):
        points, weights = measure(on_sphere, "clustered")
        far = -AXIS if beta > 0 else AXIS
        targets = on_sphere(7, 150, centre=far, width=width)
        attention = Attention(law, beta)
        check(reference, attention, targets, points, weights, tolerance, "harmonic")


@pytest.mark.parametrize(("law", "beta"), CASES)
class TestDirect:
    @pytest.mark.parametrize("kind", ["random", "clustered", "two clusters"])
    def test_few_pairs(self, reference, on_sphere, law, beta, kind):
        points, weights = measure(on_sphere, kind)
        targets = np.concatenate([on_sphere(6, 20), points[:20], -points[:20]])
        # The logit <Ax,y> is known to |beta| units of round-off, and so is log Z; a cluster's
        # speed is a difference of unit vectors 0.1 apart.
        tolerance = 1e-14 * (10 + abs(beta))
        check(reference, Attention(law, beta), targets, points, weights, tolerance, "direct")

    @pytest.mark.parametrize("dimension", [2, 3, 4, 17])
    def test_any_matrices(self, reference, on_sphere, law, beta, dimension):
        rng = np.random.default_rng(8)
        query, key, value = rng.normal(size=(3, dimension, dimension)) / np.sqrt(dimension)
        if law == "unnormalised":
            query /= np.linalg.norm(key.T @ query, 2)  # |A| = beta, against overflow
        attention = Attention(law, beta, query, key, value)
        points, targets = on_sphere(9, 300, dimension), on_sphere(10, 100, dimension)
        weights = rng.uniform(size=300)
        weights /= weights.sum()
        tolerance = 1e-14 * (10 + abs(beta) * np.linalg.norm(key.T @ query, 2))
        space = Sphere(dimension)
        check(reference, attention, targets, points, weights, tolerance, "direct", space)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("query", "key", "value"), [(2.0, None, -1.0), (-0.5, 3.0, 2.0)])
def test_multiples_of_the_identity(reference, on_sphere, law, query, key, value):
    points, weights = measure(on_sphere, "two clusters")
    targets = on_sphere(6, 150)
    attention = Attention(law, 4.0, query, key, value)
    check(reference, attention, targets, points, weights, 1e-10, "harmonic")
    as_matrices = Attention(
        law,
        4.0,
        *(None if m is None else m * np.eye(3) for m in (query, key, value)),
    )
    assert np.array_equal(
        as_matrices.velocity(targets, points, weights, Sphere(3)),
        attention.velocity(targets, points, weights, Sphere(3)),
    )


def test_turning_queries_and_keys_together_changes_nothing(on_sphere):
    # <Qx, Qy> = <x, y> for an orthogonal Q: Q^T Q is the identity up to round-off.
    points, weights = measure(on_sphere, "random")
    targets = on_sphere(6, 150)
    turn, _ = np.linalg.qr(np.random.default_rng(11).normal(size=(3, 3)))
    turned = Attention(beta=4.0, query=turn, key=turn)
    plain = Attention(beta=4.0).velocity(targets, points, weights, Sphere(3), backend="direct")
    for backend in ("direct", "laplace", "harmonic"):
        v = turned.velocity(targets, points, weights, Sphere(3), backend=backend)
        assert largest_error(v, plain) <= 1e-10


@pytest.mark.parametrize("backend", ["direct", "laplace", "harmonic"])
def test_softmax_ignores_the_total_mass(on_sphere, backend):
    points, weights = measure(on_sphere, "random")
    targets = on_sphere(6, 50)
    evaluator = Attention(beta=9.0).prepare(targets, points, Sphere(3), backend=backend)
    one, many = evaluator(weights), evaluator(1e6 * weights)
    assert largest_error(many.velocity, one.velocity) < 1e-12
    assert np.abs(many.log_partition - one.log_partition - np.log(1e6)).max() < 1e-11


def test_slightly_negative_weights_are_summed_as_they_are(reference, on_sphere):
    points, weights = measure(on_sphere, "random")
    weights[::7] *= -0.1
    targets = on_sphere(6, 50)
    for backend, tolerance in (("harmonic", 1e-10), ("laplace", 1e-10), ("direct", 1e-13)):
        check(reference, Attention(beta=4.0), targets, points, weights, tolerance, backend)


@pytest.mark.parametrize("beta", [9.0, 1000.0])
def test_points_without_weight_are_not_there(reference, on_sphere, beta):
    # All the mass lies opposite to the targets; beside them are points that weigh nothing.
    points = np.concatenate([on_sphere(2, 20, centre=-AXIS, width=0.2), on_sphere(3, 5)])
    weights = np.where(np.arange(25) < 20, 1 / 20, 0.0)
    targets = on_sphere(4, 10, centre=AXIS, width=0.1)
    attention = Attention(beta=beta)
    with_them = attention.velocity(targets, points, weights, Sphere(3))
    without = reference(attention, targets, points[:20], weights[:20]).velocity
    assert largest_error(with_them, without) < 1e-14 * (10 + beta)


@pytest.mark.parametrize("off", [0.0, 4e-7])
def test_backends_agree_on_points_that_count_as_unit_vectors(on_sphere, off):
    # Sphere.holds lets a length be wrong by 1e-6, which moves beta <x, y> by 1e-6 beta.
    points, weights = measure(on_sphere, "two clusters")
    points, targets = (1 + off) * points, (1 + off) * on_sphere(6, 150)
    attention = Attention(beta=100.0)
    one, other = (
        attention.velocity(targets, points, weights, Sphere(3), backend=backend)
        for backend in ("harmonic", "direct")
    )
    assert largest_error(one, other) <= 2e-10


class TestRateBound:
    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize("beta", [-3.0, 1.0, 9.0])
    @pytest.mark.parametrize("relative", [False, True])
    def test_bounds_the_derivative_of_the_velocity(self, on_sphere, law, beta, relative):
        rng = np.random.default_rng(12)
        query, key, value = rng.normal(size=(3, 3, 3))
        attention = Attention(law, beta, query, key, value, relative=relative)
        points, weights = measure(on_sphere, "two clusters")
        x = on_sphere(13, 60)
        along = Sphere(3).tangent(x, rng.normal(size=x.shape))
        along /= np.linalg.norm(along, axis=1)[:, None]
        h = 1e-5
        field = attention.prepare(x, points, Sphere(3))(weights)
        ahead, behind = (
            attention.velocity(Sphere(3).retract(x + s * along), points, weights, Sphere(3))
            for s in (h, -h)
        )
        slopes = np.linalg.norm(ahead - behind, axis=1) / (2 * h)
        assert slopes.max() <= attention.rate_bound(field, Sphere(3)) * (1 + 1e-6)

    def test_without_targets_bounds_nothing(self, on_sphere):
        # A rank without tokens must not set the time step of the others.
        points, weights = measure(on_sphere, "random")
        attention = Attention("unnormalised", -10.0)
        nothing = attention.prepare(points[:0], points, Sphere(3))(weights)
        some = attention.prepare(points[:5], points[:5], Sphere(3))(np.full(5, 1e-6))
        assert attention.rate_bound(nothing, Sphere(3)) <= attention.rate_bound(some, Sphere(3))


@pytest.mark.parametrize("beta", [1e9, 1e12, 1e100])
def test_at_any_beta_softmax_goes_to_the_nearest_point(on_sphere, beta):
    points, targets = on_sphere(0, 400), on_sphere(1, 150)
    weights = np.full(400, 1 / 400)
    velocity = Attention(beta=beta).velocity(targets, points, weights, Sphere(3))
    nearest = points[np.argmax(targets @ points.T, axis=1)]
    assert np.allclose(velocity, Sphere(3).tangent(targets, nearest), atol=1e-6)
