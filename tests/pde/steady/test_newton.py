"""Stationary densities with noise against the fixed points of their profiles."""

import warnings

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import eval_legendre, iv, spherical_in

from meanformer.attention import Attention, Schedule
from meanformer.attention.measures import Gaussian, VonMisesFisher
from meanformer.meshes import box, circle, icosphere
from meanformer.pde import DensitySolver, LinearSolverError
from meanformer.pde.steady import SteadyStateError, march, newton, residual
from meanformer.solvers import advance

COMM = MPI.COMM_WORLD
TURN = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()
AXES = {2: (0.6, 0.8), 3: (0.0, 0.6, 0.8)}
CASES = [
    (3, "unnormalised", 0.29430355, 0.6844788477),
    (3, "softmax", 0.25042823, 0.5241689995),
    (2, "unnormalised", 0.45212728, 0.6822258473),
    (2, "softmax", 0.35711197, 0.5886299427),
]


def profile_mean(dimension, law, kappa, beta=1.0, terms=25):
    """<x.e> of rho = exp(Z/(beta kappa)) or Z^{1/(beta kappa)}, by Picard iteration."""
    k = np.arange(terms)
    if dimension == 3:
        t, weights = np.polynomial.legendre.leggauss(200)
        basis = np.stack([eval_legendre(j, t) for j in k])
        factors = (2 * k + 1) * spherical_in(k, beta)
    else:
        angles = np.linspace(0, np.pi, 401)
        t, weights = np.cos(angles), np.full(401, np.pi / 400)
        weights[[0, -1]] /= 2
        basis = np.cos(np.multiply.outer(k, angles))
        factors = np.where(k == 0, 1, 2) * iv(k, beta)
    density = np.exp(2 * t)
    for _ in range(3000):
        density /= weights @ density
        partition = (factors * (basis @ (weights * density))) @ basis
        if law == "softmax":
            new = partition ** (1 / (beta * kappa))
        else:
            new = np.exp((partition - partition.max()) / (beta * kappa))
        density = 0.5 * density + 0.5 * new / (weights @ new)
    return float(weights @ (density * t) / (weights @ density))


def solver_of(dimension, law, kappa, comm=MPI.COMM_WORLD, size=None):
    if dimension == 2:
        domain = circle(comm, cells=size or 30, geometry_degree=2, rotation=0.3, perturbation=0.2)
    else:
        domain = icosphere(
            comm, level=size or 2, geometry_degree=2, rotation=TURN, perturbation=0.15
        )
    start = VonMisesFisher(AXES[dimension], 2.0)
    return DensitySolver(domain, Attention(law, 1.0), 2, start.density, temperature=kappa)


def mean_of(solver):
    return np.linalg.norm(solver.comm.allreduce(solver.weights @ solver.points))


@pytest.mark.parametrize("dimension, law, kappa, mean", CASES)
def test_the_oracle_has_the_published_values(dimension, law, kappa, mean):
    # Temperatures are published to eight digits.
    assert abs(profile_mean(dimension, law, kappa) - mean) < 2e-8


def note(verify, method, dimension, law, mean, solver, found):
    verify(
        f"stationary mean, {law} on S^{dimension - 1}, by {method}",
        f"{mean:.7f} (Picard iteration of the profile)",
        f"off by {abs(mean_of(solver) - mean):.0e}; residual {found.residual:.0e} in "
        f"{found.iterations} steps",
    )


@pytest.mark.verification
@pytest.mark.parametrize("dimension, law, kappa, mean", CASES)
def test_newton(verify, dimension, law, kappa, mean):
    solver = solver_of(dimension, law, kappa)
    found = newton(solver, 1e-9)
    note(verify, "Newton's method", dimension, law, mean, solver, found)
    assert found.residual <= 1e-9
    assert found.iterations <= 10
    assert found.turning < 1e-4  # the mesh's error
    assert found.resolution == 0
    assert residual(solver, solver.values) < 1e-5
    assert abs(mean_of(solver) - mean) < 1e-4
    assert abs(solver.mass() - 1) < 1e-13
    assert solver.range()[0] >= 0
    assert solver.time == 0
    solver.close()


@pytest.mark.verification
@pytest.mark.parametrize("dimension, law, kappa, mean", CASES[2:])
def test_marching_on_the_circle(verify, dimension, law, kappa, mean):
    solver = solver_of(dimension, law, kappa)
    found = march(solver, 1e-6, 100.0)
    note(verify, "marching", dimension, law, mean, solver, found)
    assert found.residual <= 1e-6
    assert found.iterations == solver.steps > 0
    assert abs(mean_of(solver) - mean) < 1e-4
    solver.close()


@pytest.mark.slow
@pytest.mark.verification
@pytest.mark.parametrize("dimension, law, kappa, mean", CASES[:2])
def test_marching_on_the_sphere(verify, dimension, law, kappa, mean):
    solver = solver_of(dimension, law, kappa)
    found = march(solver, 1e-6, 100.0)
    note(verify, "marching", dimension, law, mean, solver, found)
    assert abs(mean_of(solver) - mean) < 1e-4
    solver.close()


def test_newton_stays_where_marching_ends():
    solver = solver_of(2, "softmax", 0.35711197)
    march(solver, 1e-7, 100.0)
    before = solver.values.copy()
    newton(solver, 1e-10)
    assert np.abs(solver.values - before).max() < 1e-5
    solver.close()


def test_the_equilibrium_of_a_normal_distribution():
    # Softmax with V = -I and noise: S = sqrt(kappa) A^{-1/2}.
    beta, kappa = 0.5, 0.2
    domain = box(MPI.COMM_WORLD, half_width=4.5, cells=40, dimension=1, perturbation=0.1)
    solver = DensitySolver(
        domain, Attention(beta=beta, value=-1.0), 3, Gaussian((0.0,), 0.5).density,
        temperature=kappa, boundary="no-flux",
    )  # fmt: skip
    newton(solver, 1e-9)
    variance = float(solver.weights @ solver.points[:, 0] ** 2)
    assert variance == pytest.approx(np.sqrt(kappa / beta), rel=1e-4)
    solver.close()


@pytest.mark.mpi
def test_tells_when_the_mesh_does_not_resolve_the_density():
    _, law, kappa, mean = CASES[3]
    start, shares, errors = VonMisesFisher(AXES[2], 2.0).density, [], []
    for cells in (3, 5, 12, 48):
        solver = DensitySolver(
            circle(COMM, cells=cells, rotation=0.3), Attention(law), 1, start,
            temperature=kappa,
        )  # fmt: skip
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = newton(solver)
        assert found.residual <= 1e-9
        shares.append(found.resolution)
        errors.append(abs(mean_of(solver) / mean - 1))
        solver.close()
        warned = [str(each.message) for each in caught]
        expected = found.resolution > 0.1 and COMM.rank == 0
        assert len(warned) == expected and all("does not resolve" in line for line in warned)
    assert shares[0] == pytest.approx(1) and errors[0] > 0.3
    assert shares[-1] == 0 and errors[-1] < 2e-3
    assert all(share > 0.1 for share, error in zip(shares, errors, strict=True) if error > 0.03)


@pytest.mark.mpi
def test_does_not_depend_on_the_number_of_ranks():
    def final(comm):
        solver = solver_of(2, "unnormalised", 0.45212728, comm, 12)
        newton(solver, 1e-11)
        gathered = comm.allgather((solver.numbers, solver.values))
        numbers, values = (np.concatenate(part) for part in zip(*gathered, strict=True))
        solver.close()
        return values[np.argsort(numbers)]

    alone, together = final(MPI.COMM_SELF), final(MPI.COMM_WORLD)
    assert np.abs(alone - together).max() < 1e-9 * alone.max()


def test_tells_when_the_linear_solver_does_not_converge():
    solver = solver_of(2, "softmax", 0.3)
    solver.diffusion.solve(solver.values, 0.1)
    PETSc.Options()["diffusion_ksp_max_it"] = 2
    try:
        strict = solver_of(2, "softmax", 0.3)
    finally:
        PETSc.Options().delValue("diffusion_ksp_max_it")
    with pytest.raises(SteadyStateError) as caught:
        newton(strict)
    assert isinstance(caught.value.__cause__, LinearSolverError)
    strict.close()
    solver.close()


def test_knows_the_layer_that_begins():
    layers = Schedule([Attention(beta=3.0), Attention(beta=0.5)], [0.1, 1.0])
    start = VonMisesFisher((0.6, 0.8), 2.0).density
    solver = DensitySolver(circle(MPI.COMM_WORLD, cells=20), layers, 2, start, temperature=0.2)
    advance(solver, 0.1)
    assert solver.attention.beta == 0.5
    other = DensitySolver(
        circle(MPI.COMM_WORLD, cells=20), Attention(beta=0.5), 2, start, temperature=0.2
    )
    assert residual(solver, solver.values) == residual(other, solver.values)
    solver.close()
    other.close()


class TestRefusals:
    def test_without_noise(self):
        with pytest.raises(ValueError, match="noise"):
            newton(solver_of(2, "softmax", 0.0))

    def test_with_an_open_boundary(self):
        domain = box(MPI.COMM_WORLD, half_width=5.0, cells=10, dimension=1)
        start = Gaussian((0.0,), 0.5).density
        solver = DensitySolver(domain, Attention(beta=0.5, value=-1.0), 1, start, temperature=0.2)
        with pytest.raises(ValueError, match="no-flux"):
            newton(solver)
        solver.close()

    def test_too_little_time(self):
        solver = solver_of(2, "softmax", 0.3)
        with pytest.raises(SteadyStateError, match="residual"):
            march(solver, 1e-12, 0.05)
        solver.close()
