"""The density on the sphere against exact solutions."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meanformer.attention import Attention
from meanformer.attention.exact import exact_solution
from meanformer.attention.measures import Mixture, PoissonKernel, VonMisesFisher
from meanformer.meshes import icosphere
from meanformer.pde import DensitySolver, InitialDensityError, PositivityError
from meanformer.pde.dg import solver as density
from meanformer.pde.dg.flow import AttentionFlow
from meanformer.pde.dg.l2_distance import l2_distance
from meanformer.solvers import advance

TURN = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()
TWO_CAPS = Mixture(
    (VonMisesFisher((0.0, 0.0, 1.0), 8.0), VonMisesFisher((1.0, 0.0, 0.0), 8.0)), (0.6, 0.4)
)


def mesh(level, degree, comm=MPI.COMM_WORLD, seed=0):
    """An icosphere without symmetry."""
    geometry_degree = 3 if degree == 3 else 2
    return icosphere(
        comm,
        level=level,
        geometry_degree=geometry_degree,
        rotation=TURN,
        perturbation=0.15,
        seed=seed,
    )


def exact_solution_errors(degree, levels, seed=0, value=1.0):
    """L2 errors at t = 1 for beta = 0, with |a| along an axis of no symmetry."""
    start = PoissonKernel(tuple((0.3 if value > 0 else 0.6) * np.array([0.6, 0.48, 0.64])))
    attention = Attention(beta=0.0, value=value)
    end = exact_solution(attention, start, 1.0)
    errors = []
    for level in levels:
        domain = mesh(level, degree, seed=seed)
        solver = DensitySolver(domain, attention, degree, start.density)
        errors.append(l2_distance(advance(solver, 1.0), end.density))
    return np.array(errors)


@pytest.mark.parametrize("degree, order, finest", [(0, 0.8, 4), (1, 1.8, 4), (2, 2.8, 3)])
def test_order_against_the_exact_nonlinear_solution(rate, degree, order, finest):
    levels = np.arange(2, finest + 1)
    errors = exact_solution_errors(degree, levels)
    assert rate(errors, 2.0**levels) >= order
    assert errors[-1] < {0: 3e-2, 1: 1e-3, 2: 3e-4}[degree]


@pytest.mark.slow
@pytest.mark.verification
@pytest.mark.parametrize(
    "degree, order, finest, value",
    [
        (0, 0.8, 5, 1.0),
        (1, 1.8, 5, 1.0),
        (2, 2.8, 5, 1.0),
        (3, 3.8, 4, 1.0),
        *((p, p + 0.8, 4, -1.0) for p in range(4)),
    ],
)
def test_order_over_all_levels(verify_order, degree, order, finest, value):
    # The coarse meshes have few cells: the geometric mean over three perturbations shows the
    # order of the scheme rather than the luck of a mesh.
    levels = np.arange(2, finest + 1)
    each = [exact_solution_errors(degree, levels, seed, value) for seed in range(3)]
    errors = np.exp(np.mean(np.log(each), axis=0))
    seen = verify_order(
        f"degree {degree}, V = {value:g} I",
        degree + 1,
        "exact nonlinear solution at beta = 0, t = 1",
        errors,
        2.0**levels,
        f"L2 error {errors[-1]:.1e} on level {finest}",
    )
    assert seen >= order


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
@pytest.mark.verification
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_mass_drift_over_a_thousand_steps(verify, degree):
    step = 0.002
    solver = DensitySolver(mesh(3, degree), Attention(beta=4.0), degree, TWO_CAPS.density, step)
    start = solver.mass()
    for k in range(1000):
        solver.step((k + 1) * step)
        assert solver.range()[0] >= 0.0
    verify(
        f"mass kept and density not negative, degree {degree}",
        "1 and 0",
        f"drift {solver.mass() - start:.1e} in {solver.steps} steps",
    )
    assert solver.steps == 1000
    assert abs(solver.mass() - start) <= 1e-13


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
        gathered = comm.allgather((solver.numbers, solver.values))
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
    assert solver.time == 0.5 / 2**solver.refused_steps < 0.5
    assert solver.range()[0] >= 0.0


@pytest.mark.mpi
@pytest.mark.parametrize("law", ["softmax", "sinkhorn"])
@pytest.mark.parametrize("halvings", [1, 12])
def test_nothing_is_left_of_a_refused_step(law, halvings, monkeypatch):
    monkeypatch.setattr(density, "_MOST_HALVINGS", halvings)
    start = VonMisesFisher((0.0, 0.0, 1.0), 30.0).density
    used, fresh = (DensitySolver(mesh(1, 2), Attention(law), 2, start, step=5.0) for _ in range(2))
    if halvings == 1:
        with pytest.raises(PositivityError):
            used.step(5.0)
        assert used.time == used.steps == 0
    else:
        used.step(5.0)
        assert 0 < used.time < 5.0
    other, _ = used.elements.project(TWO_CAPS.density)
    fields = [solver.flow.start(other) for solver in (used, fresh)]
    present = used.field()
    got, wanted = (s.flow.tendency(other, f) for s, f in zip((used, fresh), fields, strict=True))
    assert np.array_equal(got.change, wanted.change)
    assert not np.array_equal(got.change, used.flow.tendency(other, present).change)


def test_a_halved_step_evaluates_attention_at_its_start_once(monkeypatch):
    seen, velocity = [], AttentionFlow.velocity
    monkeypatch.setattr(
        AttentionFlow, "velocity", lambda self, v: seen.append(v) or velocity(self, v)
    )
    start = VonMisesFisher((0.0, 0.0, 1.0), 30.0).density
    solver = DensitySolver(mesh(1, 2), Attention(), 2, start, step=5.0)
    before = solver.values
    solver.step(5.0)
    assert 5.0 / solver.time >= 2 and len(seen) >= 5
    assert sum(values is before for values in seen) == 1


@pytest.mark.parametrize("degree", [-1, 4])
def test_refuses_a_degree(degree):
    with pytest.raises(ValueError, match="degree"):
        DensitySolver(mesh(1, 1), Attention(), degree, TWO_CAPS.density)


def test_refuses_causal_attention():
    with pytest.raises(ValueError, match="a density has no order"):
        DensitySolver(mesh(1, 1), Attention(causal=True), 1, TWO_CAPS.density)


@pytest.mark.mpi
@pytest.mark.parametrize(
    "density", [lambda x: np.zeros(len(x)), lambda x: -np.ones(len(x)), lambda x: x[:, 0] * np.nan]
)
def test_refuses_a_density_without_mass(density):
    with pytest.raises(InitialDensityError):
        DensitySolver(mesh(1, 1), Attention(), 1, density)
