"""The density with a drift beside attention, against exact solutions."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meanformer.attention import Attention, LinearDrift, Perceptron, Schedule
from meanformer.attention.exact import exact_solution
from meanformer.attention.measures import AngularGaussian, Gaussian, PoissonKernel, Uniform
from meanformer.meshes import box, circle, icosphere
from meanformer.pde import DensitySolver
from meanformer.pde.dg.l2_distance import l2_distance
from meanformer.pde.steady import newton
from meanformer.solvers import advance

WORLD, SLOW = MPI.COMM_WORLD, pytest.mark.slow
TURN = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()
# Neither symmetric nor without trace; of the plane, with a start that it turns and stretches.
MATRIX = {
    2: np.array([[0.5, -0.6], [0.2, -0.4]]),
    3: np.array([[0.5, -0.6, 0.2], [0.2, -0.4, 0.1], [-0.3, 0.5, 0.1]]),
}


def mesh_of(kind, degree, size, comm=WORLD):
    if kind == "circle":
        geometry = max(2, degree)
        return circle(comm, cells=size, geometry_degree=geometry, rotation=0.3, perturbation=0.2)
    if kind == "sphere":
        geometry = 3 if degree == 3 else 2
        return icosphere(
            comm, level=size, geometry_degree=geometry, rotation=TURN, perturbation=0.15
        )
    turn = Rotation.from_euler("z", 0.4).as_matrix()[:2, :2]
    return box(
        comm, half_width=5.5, cells=size, dimension=2, rotation=turn, perturbation=0.15, seed=0
    )


def solve(kind, model, start, end, degree, size, temperature=0.0, comm=WORLD):
    domain = mesh_of(kind, degree, size, comm)
    solver = DensitySolver(domain, model, degree, start.density, temperature=temperature)
    return advance(solver, end)


def errors_of(kind, model, start, end, degree, sizes, temperature=0.0):
    exact = exact_solution(model, start, end, temperature)
    errors = []
    for size in sizes:
        solver = solve(kind, model, start, end, degree, size, temperature)
        errors.append(l2_distance(solver, exact.density))
        solver.close()
    return np.array(errors)


TURNING = {d: Attention(value=0.0, drift=LinearDrift(MATRIX[d])) for d in (2, 3)}
BESIDE = Attention(
    beta=1.0, query=[[0.4, 0.15], [-0.2, 0.3]], value=-1.0, drift=LinearDrift(MATRIX[2])
)
NORMAL = Gaussian((0.3, -0.2), ((0.9, 0.2), (0.2, 0.6)))


@pytest.mark.verification
@pytest.mark.parametrize("degree", [2, *(pytest.param(p, marks=SLOW) for p in (0, 1, 3))])
def test_directions_on_the_circle(verify_order, degree):
    sizes = [60, 120, 240]
    errors = errors_of("circle", TURNING[2], Uniform(2), 1.0, degree, sizes)
    order = verify_order(
        f"degree {degree} on the circle, linear drift",
        degree + 1,
        "angular central Gaussian, t = 1",
        errors,
        sizes,
        f"L2 error {errors[-1]:.1e} with {sizes[-1]} cells",
    )
    assert order >= degree + 0.8


@pytest.mark.parametrize("degree", [1, 2])
def test_directions_on_the_sphere(rate, degree):
    errors = errors_of("sphere", TURNING[3], Uniform(3), 0.5, degree, [2, 3])
    assert rate(errors, [4, 8]) >= degree + 0.7
    assert errors[-1] < {1: 1e-3, 2: 5e-5}[degree]


@pytest.mark.slow
@pytest.mark.verification
@pytest.mark.parametrize("degree, finest", [(0, 5), (1, 5), (2, 5), (3, 4)])
def test_order_of_directions_on_the_sphere(verify_order, degree, finest):
    levels = np.arange(finest - 2, finest + 1)
    errors = errors_of("sphere", TURNING[3], Uniform(3), 0.5, degree, levels)
    order = verify_order(
        f"degree {degree} on the sphere, linear drift",
        degree + 1,
        "angular central Gaussian, t = 0.5",
        errors,
        2.0**levels,
        f"L2 error {errors[-1]:.1e} at level {finest}",
    )
    assert order >= degree + 0.8


def test_beside_softmax_in_the_plane(rate):
    errors = errors_of("box", BESIDE, NORMAL, 0.2, 2, [12, 24], 0.1)
    assert rate(errors, [12, 24]) >= 2.6
    assert errors[-1] < 1e-3


def test_relative_values_are_a_drift(rate):
    # An average of V (y - x) is that of V y, less V x.
    value, common = np.array([[0.8, -0.3], [0.2, 0.6]]), {"query": [[0.4, 0.15], [-0.2, 0.3]]}
    relative = Attention(value=value, relative=True, **common)
    exact = exact_solution(
        Attention(value=value, drift=LinearDrift(-value), **common), NORMAL, 0.2, 0.1
    )
    sizes, errors = [12, 24], []
    for size in sizes:
        solver = solve("box", relative, NORMAL, 0.2, 2, size, 0.1)
        errors.append(l2_distance(solver, exact.density))
        solver.close()
    assert rate(np.array(errors), sizes) >= 2.6
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("value", [np.eye(3), MATRIX[3]])
def test_relative_values_are_a_drift_on_spheres(value):
    start, ends = PoissonKernel((0.1, 0.3, 0.2)), []
    for model in (
        Attention(beta=2.0, value=value, relative=True),
        Attention(beta=2.0, value=value, drift=LinearDrift(-value)),
    ):
        solver = DensitySolver(mesh_of("sphere", 1, 1), model, 1, start.density, step=0.05)
        ends.append(advance(solver, 0.2).values)
    assert np.abs(ends[0] - ends[1]).max() < 1e-8


@pytest.mark.slow
@pytest.mark.verification
@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_order_beside_softmax_in_the_plane(verify_order, temperature):
    sizes = [16, 32]
    errors = errors_of("box", BESIDE, NORMAL, 0.3, 2, sizes, temperature)
    order = verify_order(
        f"degree 2 in the plane, softmax and a linear drift, kappa = {temperature:g}",
        3,
        "normal distribution, t = 0.3",
        errors,
        sizes,
        f"L2 error {errors[-1]:.1e} with {sizes[-1]} squares a side",
    )
    assert order >= 2.7


def test_layers():
    # One layer moves directions, the next one back to where they came from.
    there, back = (Attention(value=0.0, drift=LinearDrift(s * MATRIX[2])) for s in (1, -1))
    start = AngularGaussian(((1.3, 0.4), (0.4, 0.5)))
    model = Schedule([there, back], 0.5)
    errors = [
        l2_distance(solve("circle", model, start, 1.0, 2, size), start.density) for size in (40, 80)
    ]
    assert errors[1] < 1e-4 and np.log2(errors[0] / errors[1]) > 2.7


@pytest.mark.mpi
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
def test_ranks_agree(activation):
    rng = np.random.default_rng(1)
    drift = LinearDrift(MATRIX[3])
    if activation:
        drift = Perceptron(*(rng.normal(size=s) for s in ((4, 3), (4,), (3, 4))), activation)
    given = "sphere", Attention(beta=2.0, drift=drift), PoissonKernel((0.1, 0.2, 0.3)), 0.2, 1, 2
    together, alone = solve(*given), solve(*given, comm=MPI.COMM_SELF)
    order = np.argsort(alone.numbers)
    mine = alone.values[order][together.numbers]
    assert np.abs(together.values - mine).max() < 1e-12 * np.abs(mine).max()
    assert together.steps == alone.steps


def test_steps_are_shorter_where_a_drift_is_fast():
    models = (Attention(value=0.0, drift=LinearDrift(s * MATRIX[2])) for s in (1, 20))
    slow, fast = (solve("circle", model, Uniform(2), 0.1, 1, 20) for model in models)
    assert fast.steps > 5 * slow.steps
    assert 15 < slow.automatic_step / fast.automatic_step < 40


def test_the_velocity_has_it():
    solver = solve("circle", TURNING[2], Uniform(2), 0.1, 1, 9)
    field = solver.field().velocity
    x = solver.space.retract(solver.flow.space.tabulate_dof_coordinates()[: len(field), :2])
    moved = x @ MATRIX[2].T
    assert np.abs(field - (moved - (x * moved).sum(axis=1)[:, None] * x)).max() < 1e-14


def test_a_stationary_density_has_a_direction():
    # V = 0, symmetric M, noise: rho is exp(<x, Mx> / 2 kappa) over its mass, and does not turn.
    matrix = np.diag([0.4, -0.4])
    model = Attention(value=0.0, drift=LinearDrift(matrix))
    domain = mesh_of("circle", 2, 60)
    solver = DensitySolver(domain, model, 2, Uniform(2).density, temperature=0.3)
    state = newton(solver)
    wanted = np.exp((solver.points**2 @ np.diag(matrix)) / 0.6)
    wanted /= solver.integral(wanted)
    assert np.abs(solver.at(solver.points) - wanted).max() < 1e-4
    assert state.turning == 0
    solver.close()
