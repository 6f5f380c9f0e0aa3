"""Diffusion: orders, growth rates, mass, positivity, and the linear solver."""

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import eval_legendre, gamma, iv

from meanformer.attention import Attention
from meanformer.attention.measures import Gaussian, Mixture, VonMisesFisher, ZonalHarmonic
from meanformer.meshes import box, circle, icosphere
from meanformer.pde import DensitySolver, LinearSolverError, PetscOptionError
from meanformer.pde.dg.l2_distance import l2_distance
from meanformer.pde.steady.newton import newton
from meanformer.solvers import advance

TURN = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()
AXES = {2: (0.6, 0.8), 3: tuple(TURN[0])}
STILL = Attention(beta=0.0, value=0.0)


def mesh(dimension, size, degree, comm=MPI.COMM_WORLD):
    """A circle of ``size`` cells or an icosphere of that level, without symmetry."""
    curved = max(2, degree)
    if dimension == 2:
        return circle(comm, cells=size, geometry_degree=curved, rotation=0.3, perturbation=0.2)
    return icosphere(comm, level=size, geometry_degree=curved, rotation=TURN, perturbation=0.15)


@pytest.mark.verification
@pytest.mark.parametrize("dimension, sizes", [(2, [20, 40, 80]), (3, [1, 2, 3])])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_harmonics_decay(verify_order, dimension, sizes, degree):
    kappa, k, end = 0.1, 2, 0.5
    rate = kappa * k * (k + dimension - 2)
    start, exact = (ZonalHarmonic(k, 0.5 * np.exp(-rate * t), AXES[dimension]) for t in (0.0, end))
    errors = []
    for size in sizes:
        solver = DensitySolver(
            mesh(dimension, size, degree), STILL, degree, start.density, 0.02, temperature=kappa
        )
        errors.append(l2_distance(advance(solver, end), exact.density))
        solver.close()
    order = verify_order(
        f"degree {degree}, diffusion alone on S^{dimension - 1}",
        degree + 1,
        "decay of a harmonic",
        errors,
        sizes if dimension == 2 else 2.0 ** np.array(sizes),
        f"L2 error {errors[-1]:.1e}",
    )
    assert order >= degree + 0.8


def growth_rate(law, beta, kappa, k, d, sign):
    """lambda_k of a degree-k perturbation of the uniform density (Funk-Hecke)."""
    w = [gamma(d / 2) * (2 / beta) ** (d / 2 - 1) * iv(j + d / 2 - 1, beta) for j in (0, k)]
    share = w[1] / w[0]
    attention = {"unnormalised": w[1], "softmax": share, "sinkhorn": share / (1 + share)}[law]
    return k * (k + d - 2) * (sign * attention / beta - kappa)


def observed_rate(law, beta, kappa, k, d, sign, size, degree=2):
    expected = growth_rate(law, beta, kappa, k, d, sign)
    perturbed = ZonalHarmonic(k, 1e-5, AXES[d]).density
    attention = Attention(law, beta, value=sign)
    # Beside one without the perturbation: the mesh perturbs both, and what it does grows, too.
    solvers = [
        DensitySolver(mesh(d, size, degree), attention, degree, start, temperature=kappa)
        for start in (perturbed, lambda x: np.ones(len(x)))
    ]
    height = np.clip(solvers[0].points @ np.array(AXES[d]), -1, 1)
    wave = np.cos(k * np.arccos(height)) if d == 2 else eval_legendre(k, height)
    sizes = []
    for t in (0.0, 1 / abs(expected)):
        parts = [float(advance(solver, t).weights @ wave) for solver in solvers]
        sizes.append(solvers[0].comm.allreduce(parts[0] - parts[1]))
    for solver in solvers:
        solver.close()
    return np.log(sizes[1] / sizes[0]) * abs(expected), expected


def note(verify, law, kappa, sign, k, d, observed, expected):
    verify(
        f"growth rate, {law}, beta = 5, kappa = {kappa:g}, V = {sign:g} I, k = {k} on S^{d - 1}",
        f"{expected:.6f} (Funk-Hecke)",
        f"{observed:.6f}, off by {abs(observed / expected - 1):.0e}",
    )


@pytest.mark.verification
@pytest.mark.parametrize("law", ["softmax", "unnormalised", "sinkhorn"])
@pytest.mark.parametrize("kappa, sign", [(0.0, 1.0), (0.05, 1.0), (0.05, -1.0)])
def test_growth_rates_on_the_circle(verify, law, kappa, sign):
    for k in (1, 2, 3):
        observed, expected = observed_rate(law, 5.0, kappa, k, 2, sign, 80)
        note(verify, law, kappa, sign, k, 2, observed, expected)
        assert abs(observed / expected - 1) < 1e-3, k


@pytest.mark.parametrize(
    "law", ["softmax", "unnormalised", pytest.param("sinkhorn", marks=pytest.mark.slow)]
)
def test_a_growth_rate_on_the_sphere(law):
    observed, expected = observed_rate(law, 3.0, 0.05, 2, 3, 1.0, 3)
    assert abs(observed / expected - 1) < 3e-3


@pytest.mark.slow
@pytest.mark.verification
@pytest.mark.parametrize("law", ["softmax", "unnormalised", "sinkhorn"])
@pytest.mark.parametrize("kappa, sign", [(0.0, 1.0), (0.05, 1.0), (0.05, -1.0)])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_growth_rates_on_the_sphere(verify, law, kappa, sign, k):
    observed, expected = observed_rate(law, 5.0, kappa, k, 3, sign, 2, degree=3)
    note(verify, law, kappa, sign, k, 3, observed, expected)
    assert abs(observed / expected - 1) < 1e-3


@pytest.mark.parametrize("centres", [(0.0,), (-3.0, 3.0)])
def test_steps_resolve_the_diffusion_of_narrow_bumps(centres):
    # However far apart: the variance of the whole says nothing of theirs.
    kappa, end, variance = 1.0, 0.1, 0.02
    parts = [[Gaussian((c,), variance + 2 * kappa * t) for c in centres] for t in (0.0, end)]
    start, exact = (Mixture(tuple(p), (1.0,) * len(p)) for p in parts)
    domain = box(MPI.COMM_WORLD, half_width=7.0, cells=160, dimension=1, perturbation=0.1)
    still = Attention(beta=0.0, value=0.0)
    solver = advance(DensitySolver(domain, still, 3, start.density, temperature=kappa), end)
    assert l2_distance(solver, exact.density) < 1e-4
    assert solver.steps < 100
    solver.close()


def test_a_stationary_density_takes_long_steps():
    domain = box(MPI.COMM_WORLD, half_width=2.0, cells=16, dimension=1)
    still = Attention(beta=0.0, value=0.0)
    solver = DensitySolver(
        domain, still, 2, lambda x: np.ones(len(x)), temperature=100.0, boundary="no-flux"
    )
    advance(solver, 1.0)
    assert solver.steps < 10
    solver.close()


SHARP = Mixture(
    (VonMisesFisher((0.0, 0.0, 1.0), 60.0), VonMisesFisher((0.8, 0.0, 0.6), 60.0)), (0.6, 0.4)
)


@pytest.mark.mpi
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_mass_is_kept_and_the_density_stays_non_negative(degree):
    solver = DensitySolver(
        mesh(3, 2, degree), Attention(beta=4.0), degree, SHARP.density, temperature=0.01
    )
    for end in (0.02, 0.1, 0.4):
        advance(solver, end)
        assert solver.range()[0] >= 0
        smallest = solver.comm.allreduce(solver.weights.min(initial=0.0), op=MPI.MIN)
        assert smallest == 0
    assert abs(solver.mass() - 1) <= 1e-13
    solver.close()


@pytest.mark.slow
@pytest.mark.verification
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_mass_drift_over_a_thousand_steps(verify, degree):
    step = 0.002
    start = VonMisesFisher((0.0, 0.6, 0.8), 8.0)
    solver = DensitySolver(
        mesh(3, 3, degree), Attention(beta=4.0), degree, start.density, step, temperature=0.1
    )
    for k in range(1000):
        solver.step((k + 1) * step)
        assert solver.range()[0] >= 0.0
    verify(
        f"mass kept and density not negative with noise, degree {degree}",
        "1 and 0",
        f"drift {solver.mass() - 1:.1e} in {solver.steps} steps",
    )
    assert solver.steps == 1000
    assert abs(solver.mass() - 1) <= 1e-13
    solver.close()


class TestLinearSolver:
    def solver(self, degree=2, step=None, **options):
        """A solver that is made under these options of PETSc."""
        start = VonMisesFisher((0.0, 0.6, 0.8), 4.0)
        for name, value in options.items():
            PETSc.Options()[f"diffusion_{name}"] = value
        try:
            domain = mesh(3, 1, degree)
            return DensitySolver(domain, STILL, degree, start.density, step, temperature=0.1)
        finally:
            for name in options:
                PETSc.Options().delValue(f"diffusion_{name}")

    def test_no_noise_on_piecewise_constants(self):
        with pytest.raises(ValueError, match="degree 1 to 3"):
            self.solver(0)

    @pytest.mark.parametrize("temperature", [-0.1, np.nan, np.inf])
    def test_refuses_a_temperature(self, temperature):
        with pytest.raises(ValueError, match="temperature"):
            DensitySolver(mesh(3, 1, 1), STILL, 1, SHARP.density, temperature=temperature)

    @pytest.mark.mpi
    def test_tells_when_it_does_not_converge(self):
        solver = self.solver(ksp_max_it=1)
        with pytest.raises(LinearSolverError, match="diffusion_ksp_type"):
            solver.step(0.1)
        solver.close()

    @pytest.mark.mpi
    @pytest.mark.parametrize(
        "options",
        [{"pc_type": "nonsense"}, {"pc_type": "lu", "pc_factor_mat_solver_type": "nonsense"}],
    )
    def test_refuses_options_that_petsc_does_not_know(self, options):
        with pytest.raises(PetscOptionError, match="diffusion_"):
            self.solver(**options)
        assert not PETSc.Options().hasName("diffusion_ksp_rtol")

    @pytest.mark.mpi
    @pytest.mark.parametrize("step", [None, 0.01])
    def test_a_closed_solver_takes_no_steps_but_keeps_its_density(self, step):
        solver = advance(self.solver(step=step), 0.05)
        before, time = solver.values.copy(), solver.time
        solver.close()
        solver.close()
        for use in (lambda: solver.step(0.1), lambda: newton(solver)):
            with pytest.raises(RuntimeError, match="the solver is closed"):
                use()
        assert solver.time == time and np.array_equal(solver.values, before)
        assert abs(solver.mass() - 1) <= 1e-13

    @pytest.mark.mpi
    @pytest.mark.parametrize(
        "options",
        [
            {"pc_type": "gamg"},
            {"ksp_type": "gmres"},
            {"ksp_type": "preonly", "pc_type": "redundant"},
        ],
    )
    def test_takes_options(self, options):
        wanted = advance(self.solver(), 0.1)
        solver = advance(self.solver(**options), 0.1)
        assert solver.diffusion.iterations != wanted.diffusion.iterations
        apart = solver.comm.allreduce(np.abs(solver.values - wanted.values).max(), op=MPI.MAX)
        assert apart < 1e-10
        solver.close()
        wanted.close()

    # On several ranks gamg adds in the order in which messages arrive.
    @pytest.mark.parametrize(
        "preconditioner", [pytest.param("pbjacobi", marks=pytest.mark.mpi), "gamg"]
    )
    def test_forgets_earlier_solutions(self, preconditioner):
        used, fresh = (self.solver(pc_type=preconditioner) for _ in range(2))
        # From three ranks on PETSc adds what neighbours send in the order in which it arrives.
        used.diffusion._stiffness.copy(fresh.diffusion._stiffness)
        used.diffusion.solve(used.values, 0.1)
        got, wanted = (s.diffusion.solve(s.values, 0.01) for s in (used, fresh))
        used.close()
        fresh.close()
        assert np.array_equal(got, wanted)
