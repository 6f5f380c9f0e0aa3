"""The free energy falls at the rate of the dissipation, and never rises."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meanformer.attention import Attention, LinearDrift
from meanformer.attention.energy import InteractionEnergy
from meanformer.attention.measures import Gaussian, Mixture, VonMisesFisher
from meanformer.meshes import box, circle, icosphere
from meanformer.pde import DensitySolver
from meanformer.pde.dg.dissipation import dissipation
from meanformer.solvers import advance

TURN = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()
CAPS = {
    2: Mixture((VonMisesFisher((0.6, 0.8), 3.0), VonMisesFisher((1.0, 0.0), 5.0)), (0.6, 0.4)),
    3: Mixture(
        (VonMisesFisher((0.0, 0.6, 0.8), 3.0), VonMisesFisher((1.0, 0.0, 0.0), 5.0)), (0.6, 0.4)
    ),
}
NON_SYMMETRIC = np.array([[1.0, 0.4, 0.0], [-0.2, 0.8, 0.3], [0.1, 0.0, 1.2]])


def solver_of(dimension, size, attention, temperature, degree=2):
    if dimension == 2:
        domain = circle(
            MPI.COMM_WORLD, cells=size, geometry_degree=2, rotation=0.3, perturbation=0.2
        )
    else:
        domain = icosphere(
            MPI.COMM_WORLD, level=size, geometry_degree=2, rotation=TURN, perturbation=0.15
        )
    start = CAPS[dimension].density
    return DensitySolver(domain, attention, degree, start, temperature=temperature)


def energy_of(solver, attention):
    energy = InteractionEnergy(attention, solver.points, solver.space, solver.comm)
    return energy(solver.weights)


def free_energy(solver, attention):
    return solver.temperature * solver.entropy() - energy_of(solver, attention).value()


def defect(solver, attention):
    """How far the fall of the free energy is from the integral of the dissipation, relatively."""

    def rate():
        return dissipation(
            solver.elements, energy_of(solver, attention), solver.values, solver.temperature
        )

    advance(solver, 0.05)
    start, rates = free_energy(solver, attention), [rate()]
    for t in (0.055, 0.06):
        advance(solver, t)
        rates.append(rate())
    fall = start - free_energy(solver, attention)
    integral = 0.01 * (rates[0] + 4 * rates[1] + rates[2]) / 6
    solver.close()
    return abs(fall / integral - 1)


@pytest.mark.verification
@pytest.mark.parametrize("law", ["softmax", "unnormalised", "sinkhorn", "l2", "linear"])
@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_identity_on_the_circle(verify, rate, law, temperature):
    attention = Attention(law, 2.0)
    sizes = [40, 80, 160]
    errors = [defect(solver_of(2, n, attention, temperature), attention) for n in sizes]
    verify(
        f"free energy falls by the dissipation, {law}, kappa = {temperature:g}, S^1",
        "dF/dt, Simpson's rule",
        f"off by {errors[-1]:.0e}, order {rate(errors, sizes):.1f}",
    )
    assert errors[-1] < 1e-6
    assert rate(errors, sizes) > 2.8


@pytest.mark.verification
@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_identity_with_a_drift(verify, rate, temperature):
    # Attention's energy, and the velocity of both: either may then have any sign.
    attention = Attention("softmax", 2.0, drift=LinearDrift(NON_SYMMETRIC[:2, :2]))
    sizes = [40, 80, 160]
    errors = [defect(solver_of(2, n, attention, temperature), attention) for n in sizes]
    verify(
        f"free energy falls by the dissipation, softmax and a drift, kappa = {temperature:g}, S^1",
        "dF/dt, Simpson's rule",
        f"off by {errors[-1]:.0e}, order {rate(errors, sizes):.1f}",
    )
    assert errors[-1] < 1e-6
    assert rate(errors, sizes) > 2.8


@pytest.mark.verification
@pytest.mark.parametrize(
    "law, matrix", [("softmax", NON_SYMMETRIC), ("unnormalised", None), ("sinkhorn", None)]
)
@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_identity_on_the_sphere(verify, rate, law, matrix, temperature):
    attention = Attention(law, 1.5, matrix, value=None if matrix is None else matrix.T)
    errors = [defect(solver_of(3, n, attention, temperature), attention) for n in (1, 2, 3)]
    order = rate(errors, [2, 4, 8])
    verify(
        f"free energy falls by the dissipation, {law}, kappa = {temperature:g}, S^2"
        + ("" if matrix is None else ", matrices without symmetry"),
        "dF/dt, Simpson's rule",
        f"off by {errors[-1]:.0e}, order {order:.1f}",
    )
    assert errors[-1] < 1e-4
    assert order > 2.8


@pytest.mark.parametrize(
    "law, temperature",
    [("softmax", 0.0), ("unnormalised", 0.0), ("sinkhorn", 0.0), ("unnormalised", 0.2)],
)
@pytest.mark.parametrize("dimension, size", [(2, 40), (3, 2)])
def test_never_rises(law, temperature, dimension, size):
    attention = Attention(law, 2.0)
    solver = solver_of(dimension, size, attention, temperature)
    energies = [free_energy(solver, attention)]
    for t in np.linspace(0.05, 1.0, 20):
        advance(solver, float(t))
        energies.append(free_energy(solver, attention))
    assert np.all(np.diff(energies) < 0)
    solver.close()


def test_the_square_in_flat_space():
    # Noisy unnormalised attention: -int rho |kappa grad log rho - v|^2, from the normal density.
    kappa, beta, s = 0.3, 0.4, 0.5
    attention, start = Attention("unnormalised", beta), Gaussian((0.0, 0.0), s)
    domain = box(MPI.COMM_WORLD, half_width=5.0, cells=24, dimension=2, perturbation=0.1)
    solver = DensitySolver(domain, attention, 3, start.density, temperature=kappa)
    got = dissipation(solver.elements, energy_of(solver, attention), solver.values, kappa)
    # v = beta s x e^{beta^2 s |x|^2 / 2}, kappa grad log rho = -kappa x / s
    t = np.linspace(0, 8, 200001)
    integrand = (kappa / s + beta * s * np.exp(beta**2 * s * t**2 / 2)) ** 2 * t**3
    wanted = np.trapezoid(integrand * np.exp(-(t**2) / 2 / s) / s, t)
    assert got == pytest.approx(wanted, rel=2e-3)
    solver.close()


@pytest.mark.mpi
def test_does_not_depend_on_the_number_of_ranks():
    attention = Attention("unnormalised", 2.0)

    def rate(comm):
        domain = circle(comm, cells=20, geometry_degree=2, perturbation=0.2)
        solver = DensitySolver(domain, attention, 2, CAPS[2].density, temperature=0.1)
        solver.close()
        return dissipation(solver.elements, energy_of(solver, attention), solver.values, 0.1)

    assert rate(MPI.COMM_WORLD) == pytest.approx(rate(MPI.COMM_SELF), rel=1e-12)
