"""Densities at t = 0, by callables of points and by UFL expressions."""

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem

from meanformer.attention import Attention
from meanformer.meshes import ball, box, circle, icosphere
from meanformer.pde import DensitySolver, Elements

WORLD = MPI.COMM_WORLD
MESHES = {
    "circle": lambda: circle(WORLD, cells=40, rotation=0.3, perturbation=0.2),
    "sphere": lambda: icosphere(WORLD, level=2, perturbation=0.15),
    "line": lambda: box(WORLD, half_width=2.0, cells=10, dimension=1, perturbation=0.15),
    "plane": lambda: box(WORLD, half_width=2.0, cells=4, dimension=2, perturbation=0.15),
    "space": lambda: ball(WORLD, radius=2.0, cells=2, dimension=3),
}
SPHERES = ("circle", "sphere")


def bump(points):
    """A density that is the same in no two directions, and no polynomial."""
    slope = np.array([0.5, -0.3, 0.7])[: points.shape[1]]
    return np.exp(points @ slope) + points[:, 0] ** 2 * points[:, -1] + 9.0


def bump_of(x):
    """The same in UFL."""
    slope = ufl.as_vector([0.5, -0.3, 0.7][: len(x)])
    return ufl.exp(ufl.dot(x, slope)) + x[0] ** 2 * x[len(x) - 1] + 9.0


def apart(elements, *starts):
    """How far two projections are from each other, at most, relative to the larger."""
    (one, of_one), (other, of_other) = (elements.project(start) for start in starts)
    mine = np.abs(one - other).max(initial=0.0), np.abs(one).max(initial=0.0)
    error, size = (elements.comm.allreduce(part, op=MPI.MAX) for part in mine)
    return max(error / size, abs(of_one / of_other - 1))


@pytest.mark.mpi
@pytest.mark.parametrize("degree", [0, 2])
@pytest.mark.parametrize("name", MESHES)
def test_an_expression_is_what_a_callable_is(name, degree):
    elements = Elements(MESHES[name](), degree)
    x = ufl.SpatialCoordinate(elements.domain)
    if name in SPHERES:
        x = x / ufl.sqrt(ufl.dot(x, x))
    assert apart(elements, bump_of(x), bump) < 1e-13


@pytest.mark.parametrize("name, sizes", [("circle", (20, 40)), ("sphere", (2, 3))])
def test_an_expression_sees_the_points_of_the_mesh(rate, name, sizes):
    # Those of curved cells are off the sphere, by an error of their geometry.
    meshes = {
        "circle": lambda size: circle(WORLD, cells=size, perturbation=0.15),
        "sphere": lambda size: icosphere(WORLD, level=size, perturbation=0.15),
    }
    errors = []
    for size in sizes:
        elements = Elements(meshes[name](size), 2)
        x = ufl.SpatialCoordinate(elements.domain)
        errors.append(apart(elements, bump_of(x), bump))
    assert 1e-10 < errors[1] < 1e-4
    assert rate(errors, [1, 2]) > 2.8


@pytest.mark.mpi
@pytest.mark.parametrize("name", ["sphere", "plane"])
def test_a_function_of_the_mesh(name):
    # What a solver holds starts another.
    domain, attention = MESHES[name](), Attention(beta=1.0, value=-1.0)
    first = DensitySolver(domain, attention, 2, bump)
    second = DensitySolver(domain, attention, 2, first.density)
    assert np.abs(first.values - second.values).max(initial=0.0) < 1e-13 * first.range()[1]
    for solver in (first, second):
        solver.step(0.01)
    assert np.abs(first.values - second.values).max(initial=0.0) < 1e-13 * first.range()[1]


@pytest.mark.mpi
def test_expressions_that_are_constant():
    elements = Elements(MESHES["plane"](), 1)
    x = ufl.SpatialCoordinate(elements.domain)
    for start in (ufl.as_ufl(2.0), fem.Constant(elements.domain, 2.0), 2 * ufl.grad(x[0])[0]):
        values, mass = elements.project(start)
        assert np.allclose(values, 1 / 16, rtol=1e-13)
        assert mass == pytest.approx(32.0, rel=1e-13)


def wrong_starts(domain):
    """What is no density at t = 0, and what the message says."""
    x = ufl.SpatialCoordinate(domain)
    lagrange = fem.functionspace(domain, ("Lagrange", 1))
    return [
        (x, "scalar"),
        (fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,)))), "scalar"),
        (ufl.as_vector([x[0], x[1]])[ufl.Index()], "scalar"),
        (fem.Function(lagrange, dtype=np.complex128), "complex128"),
        (fem.Constant(domain, np.float32(1.0)) * x[0] ** 2, "float32"),
        (1.0 + 1j * x[0], "is complex"),
        (ufl.imag(x[0]), "is complex"),
        (ufl.SpatialCoordinate(MESHES["plane"]())[0] ** 2, "another mesh"),
        (x[0] ** 2 + ufl.SpatialCoordinate(MESHES["plane"]())[0] ** 2, "another mesh"),
        (ufl.TestFunction(lagrange), "test function"),
        (ufl.Coefficient(lagrange), "without values"),
        (ufl.FacetNormal(domain)[0], "ReferenceNormal|on rank 0|on root node"),
        (
            ufl.avg(fem.Function(fem.functionspace(domain, ("Discontinuous Lagrange", 0)))),
            "average",
        ),
        (2 + ufl.avg(x[0]), "average"),
        (x[0]("+") ** 2, "restriction"),
        (x[0] * ufl.dx, "callable"),
        (1.0, "callable"),
        ("bump", "callable"),
        (np.ones(3), "callable"),
        (lambda points: 1.0, "shape"),
        (lambda points: points, "shape"),
        (lambda points: np.ones((len(points), 1)), "shape"),
        (lambda points: np.ones(len(points), dtype=complex), "complex"),
        (lambda points: np.full(len(points), "one"), "raises ValueError"),
    ]


@pytest.mark.mpi
def test_what_is_no_density_is_refused():
    domain = MESHES["plane"]()
    for start, reason in wrong_starts(domain):
        with pytest.raises(ValueError, match=rf"^initial.*({reason})"):
            DensitySolver(domain, Attention(), 1, start)


@pytest.mark.mpi
def test_a_callable_may_work_in_place():
    def in_place(points):
        points -= 0.2
        return np.exp(-(points**2).sum(axis=1))

    elements = Elements(MESHES["plane"](), 2)
    before = elements.points.copy()
    values, _ = elements.project(in_place)
    wanted, _ = elements.project(lambda points: np.exp(-((points - 0.2) ** 2).sum(axis=1)))
    assert np.array_equal(elements.points, before)
    assert np.array_equal(values, wanted)


@pytest.mark.mpi
@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e200, 1e300])
def test_values_may_have_any_size(size):
    elements = Elements(MESHES["plane"](), 2)
    values, mass = elements.project(lambda points: size * bump(points))
    wanted, unit = elements.project(bump)
    # 1e-310 has twelve digits left.
    assert np.abs(values - wanted).max(initial=0.0) < 1e-10 * np.abs(wanted).max(initial=1.0)
    assert mass / size == pytest.approx(unit, rel=1e-10)


@pytest.mark.mpi
def test_what_fails_on_one_rank_is_told_on_all():
    def broken(points):
        if WORLD.rank == WORLD.size - 1:
            raise OSError("no such table")
        return np.ones(len(points))

    with pytest.raises(ValueError, match=r"^initial raises OSError\('no such table'\)"):
        DensitySolver(MESHES["plane"](), Attention(), 1, broken)


@pytest.mark.mpi
def test_values_of_a_wrong_shape_on_one_rank_are_refused_on_all():
    domain = MESHES["plane"]()

    def broken(points):
        return np.ones(len(points) + (WORLD.rank == WORLD.size - 1))

    with pytest.raises(ValueError, match=r"^initial.*shape"):
        DensitySolver(domain, Attention(), 1, broken)
