"""The density solver against exact solutions, on perturbed and rotated meshes."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation
from scipy.special import spherical_in

from meanformer.attention import Attention, harmonics
from meanformer.attention.measures import Mixture, PoissonKernel, VonMisesFisher, ZonalHarmonic
from meanformer.meshes import icosphere
from meanformer.pde import DensitySolver, InitialDensityError
from meanformer.pde.quadrature import CellQuadrature, tabulate

TURN = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()
TWO_CAPS = Mixture(
    (VonMisesFisher((0.0, 0.0, 1.0), 8.0), VonMisesFisher((1.0, 0.0, 0.0), 8.0)), (0.6, 0.4)
)


def mesh(level, degree, comm=MPI.COMM_WORLD, seed=0):
    """An icosphere without symmetry."""
    geometry_degree = 3 if degree == 3 else 2
    return icosphere(comm, level, geometry_degree, rotation=TURN, perturbation=0.15, seed=seed)


def advance(solver, end):
    while solver.time < end:
        solver.step(end)
    return solver


def mean_length(r):
    """|int x rho_a| for |a| = r in d = 3."""
    return (1 + r * r) / (2 * r) - (1 - r * r) ** 2 / (4 * r * r) * np.log((1 + r) / (1 - r))


def exact_radius(r0, t):
    """|a|(t) of the exact solution: r' = (1 - r^2)/2 mhat(r)."""
    flow = solve_ivp(
        lambda _, r: (1 - r * r) / 2 * mean_length(r), (0, t), [r0], rtol=1e-12, atol=1e-14
    )
    return flow.y[0, -1]


def l2_error(solver, density):
    """L2 distance to a density, by a rule well above the scheme's own."""
    function = solver.density
    space = function.function_space
    quadrature = CellQuadrature(space.mesh, 2 * solver.degree + 4)
    points = quadrature.points.reshape(-1, 3)
    exact = density(points / np.linalg.norm(points, axis=1)[:, None])
    values = solver.values @ tabulate(space, quadrature.reference).T
    square = float((values.ravel() - exact) ** 2 @ quadrature.weights.ravel())
    return np.sqrt(solver.comm.allreduce(square))


def exact_solution_errors(degree, levels, seed=0):
    """L2 errors at t = 1 for beta = 0, from |a| = 0.3 along an axis of no symmetry."""
    axis = np.array([0.6, 0.48, 0.64])
    start = PoissonKernel(tuple(0.3 * axis))
    end = PoissonKernel(tuple(exact_radius(0.3, 1.0) * axis))
    errors = []
    for level in levels:
        domain = mesh(level, degree, seed=seed)
        solver = DensitySolver(domain, Attention(beta=0.0), degree, start.density)
        errors.append(l2_error(advance(solver, 1.0), end.density))
    return np.array(errors)


def observed_order(errors):
    """Slope of log(error) against level, by least squares."""
    return -np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0]


@pytest.mark.parametrize("t, length", [(0.5, 0.5147863920), (1, 0.6473419475), (2, 0.8683197557)])
def test_the_oracle_has_the_published_values(t, length):
    assert abs(mean_length(exact_radius(0.3, t)) - length) < 1e-9


@pytest.mark.parametrize("degree, order, finest", [(0, 0.8, 4), (1, 1.8, 4), (2, 2.8, 3)])
def test_order_against_the_exact_nonlinear_solution(degree, order, finest):
    errors = exact_solution_errors(degree, range(2, finest + 1))
    assert observed_order(errors) >= order
    assert errors[-1] < {0: 3e-2, 1: 1e-3, 2: 3e-4}[degree]


@pytest.mark.slow
@pytest.mark.parametrize(
    "degree, order, finest", [(0, 0.8, 5), (1, 1.8, 5), (2, 2.8, 5), (3, 3.8, 4)]
)
def test_order_over_all_levels(degree, order, finest):
    # The coarse meshes have few cells: the geometric mean over three perturbations shows the
    # order of the scheme rather than the luck of a mesh.
    each = [exact_solution_errors(degree, range(2, finest + 1), seed) for seed in range(3)]
    errors = np.exp(np.mean(np.log(each), axis=0))
    print(f"degree {degree}: errors {errors}, order {observed_order(errors):.3f}")
    assert observed_order(errors) >= order


@pytest.mark.mpi
def test_mean_follows_the_exact_solution_on_any_number_of_ranks():
    solver = DensitySolver(
        mesh(3, 2), Attention(beta=0.0), 2, PoissonKernel((0.0, 0.18, 0.24)).density
    )
    advance(solver, 1.0)
    mean = solver.comm.allreduce(solver.weights @ solver.points)
    assert abs(np.linalg.norm(mean) - 0.6473419475) < 2e-6
    assert np.allclose(mean / np.linalg.norm(mean), [0.0, 0.6, 0.8], atol=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.mpi
def test_mass_is_kept_and_the_density_stays_non_negative(degree):
    # Sharp caps on a coarse mesh: the limiter works from the start, in near-empty cells too.
    sharp = Mixture(
        (VonMisesFisher((0.0, 0.0, 1.0), 60.0), VonMisesFisher((0.8, 0.0, 0.6), 60.0)), (0.6, 0.4)
    )
    solver = DensitySolver(mesh(2, degree), Attention(beta=4.0), degree, sharp.density)
    start = solver.mass()
    for k in range(1, 21):
        advance(solver, 0.05 * k)
        assert solver.range()[0] >= 0.0
        # On all ranks together: one that fails alone would leave the others waiting.
        smallest = solver.comm.allreduce(solver.weights.min(initial=0.0), op=MPI.MIN)
        largest = solver.comm.allreduce(solver.weights.max(initial=0.0), op=MPI.MAX)
        assert smallest >= -np.finfo(float).eps / 2 * largest
    assert abs(solver.mass() - start) <= 1e-13 * max(1.0, solver.steps / 1000)


@pytest.mark.slow
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_mass_drift_over_a_thousand_steps(degree):
    step = 0.002
    solver = DensitySolver(mesh(3, degree), Attention(beta=4.0), degree, TWO_CAPS.density, step)
    start = solver.mass()
    for k in range(1000):
        solver.step((k + 1) * step)
        assert solver.range()[0] >= 0.0
    print(f"degree {degree}: drift {solver.mass() - start:.2e} in {solver.steps} steps")
    assert solver.steps == 1000
    assert abs(solver.mass() - start) <= 1e-13


def growth_rate(law, beta, k):
    """lambda_k of a degree-k perturbation of the uniform density (Funk-Hecke), d = 3."""
    w = [spherical_in(degree, beta) for degree in (0, k)]
    return k * (k + 1) * w[1] / (beta if law == "unnormalised" else beta * w[0])


def observed_growth_rate(law, beta, k, level, degree):
    expected = growth_rate(law, beta, k)
    axis = tuple(TURN[0])
    perturbed = ZonalHarmonic(k, 1e-5, axis)
    solver = DensitySolver(mesh(level, degree), Attention(law, beta), degree, perturbed.density)
    direction = None
    amplitudes = []
    for t in (0.0, 1 / expected):
        advance(solver, t)
        locations = harmonics.angles(solver.points)
        moments = harmonics.analyse(locations, solver.weights, k, solver.comm)
        own = harmonics.degrees(k) == k
        if direction is None:
            direction = moments * own
        amplitudes.append(harmonics.degree_power(moments, direction, k)[k])
    return np.log(amplitudes[1] / amplitudes[0]) * expected, expected


@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_growth_rates_about_the_uniform_density(law, k):
    observed, expected = observed_growth_rate(law, 5.0, k, level=3, degree=2)
    assert abs(observed / expected - 1) < 5e-3


@pytest.mark.slow
@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_growth_rates_at_level_four(law, k):
    observed, expected = observed_growth_rate(law, 5.0, k, level=4, degree=2)
    print(f"{law}, k = {k}: {observed:.6f} against {expected:.6f}, {observed / expected - 1:.1e}")
    assert abs(observed / expected - 1) < 1e-3


def test_uniform_density_is_stationary():
    solver = DensitySolver(mesh(2, 2), Attention(beta=5.0), 2, lambda x: np.ones(len(x)))
    before = solver.values.copy()
    advance(solver, 0.5)
    # The curved mesh is uniform up to its geometry error, O(h^4).
    assert np.abs(solver.values - before).max() < 1e-4 * before.max()


@pytest.mark.mpi
def test_values_do_not_depend_on_the_number_of_ranks():
    def final(comm):
        solver = advance(
            DensitySolver(mesh(2, 2, comm), Attention(beta=4.0), 2, TWO_CAPS.density), 0.5
        )
        gathered = comm.allgather((solver.cell_numbers, solver.values))
        numbers, values = (np.concatenate(part) for part in zip(*gathered, strict=True))
        return values[np.argsort(numbers)]

    alone, together = final(MPI.COMM_SELF), final(MPI.COMM_WORLD)
    # Local numbering of a cell's nodes is that of the mesh as it was made.
    assert np.abs(alone - together).max() < 1e-12 * alone.max()


def test_step_is_fixed_when_asked_for():
    solver = DensitySolver(mesh(1, 1), Attention(beta=1.0), 1, TWO_CAPS.density, step=0.01)
    advance(solver, 0.05)
    assert solver.steps == 5


def test_too_long_a_step_is_halved_until_cell_means_stay_positive():
    solver = DensitySolver(
        mesh(2, 2), Attention(beta=4.0), 2, VonMisesFisher((0.0, 0.0, 1.0), 30.0).density, step=0.5
    )
    solver.step(0.5)
    assert solver.time < 0.5
    assert solver.range()[0] >= 0.0


@pytest.mark.parametrize("degree", [-1, 4])
def test_refuses_a_degree(degree):
    with pytest.raises(ValueError, match="degree"):
        DensitySolver(mesh(1, 1), Attention(), degree, TWO_CAPS.density)


@pytest.mark.mpi
@pytest.mark.parametrize(
    "density", [lambda x: np.zeros(len(x)), lambda x: -np.ones(len(x)), lambda x: x[:, 0] * np.nan]
)
def test_refuses_a_density_without_mass(density):
    with pytest.raises(InitialDensityError):
        DensitySolver(mesh(1, 1), Attention(), 1, density)
