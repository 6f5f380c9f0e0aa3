"""The density on the circle and in R^d against exact solutions."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import erfc

from meanformer.attention import Attention, Head
from meanformer.attention.exact import exact_solution
from meanformer.attention.measures import Ball, Box, Gaussian, Mixture, PoissonKernel
from meanformer.integrators import imex, ssp
from meanformer.integrators.stepper import Rate
from meanformer.meshes import ball, box, circle
from meanformer.pde import DensitySolver
from meanformer.pde.dg import step_length
from meanformer.pde.dg.l2_distance import l2_distance
from meanformer.solvers import advance


def turn(dimension):
    """A rotation without a fixed plane of the coordinates."""
    angles = [0.3, 0.5, 0.7] if dimension == 3 else [0.0, 0.0, 0.4]
    return Rotation.from_euler("xyz", angles).as_matrix()[:dimension, :dimension]


def mesh_of(kind, dimension, degree, size, comm=MPI.COMM_WORLD, seed=0, half_width=7.0):
    if kind == "circle":
        return circle(
            comm,
            cells=size,
            geometry_degree=max(2, degree),
            rotation=0.3,
            perturbation=0.2,
            seed=seed,
        )
    rotation = turn(dimension) if dimension > 1 else None
    return box(
        comm,
        half_width=half_width,
        cells=size,
        dimension=dimension,
        rotation=rotation,
        perturbation=0.15,
        seed=seed,
    )


def moments(solver):
    """Mean and covariance of the density."""
    mean = solver.comm.allreduce(solver.weights @ solver.points)
    centred = solver.points - mean
    return mean, solver.comm.allreduce((solver.weights[:, None] * centred).T @ centred)


def study(kind, attention, start, end, degree, sizes, temperature=0.0, seeds=1, half_width=7.0):
    """L2 errors, and errors of the moments, geometric means over meshes."""
    exact = exact_solution(attention, start, end, temperature)
    errors = np.zeros((len(sizes), seeds, 3))
    for row, size in zip(errors, sizes, strict=True):
        for seed in range(seeds):
            domain = mesh_of(
                kind, start.space.dimension, degree, size, seed=seed, half_width=half_width
            )
            solver = DensitySolver(
                domain, attention, degree, start.density, temperature=temperature
            )
            advance(solver, end)
            row[seed, 0] = l2_distance(solver, exact.density)
            if kind != "circle":
                for k, (got, wanted) in enumerate(
                    zip(moments(solver), exact.moments(), strict=True), 1
                ):
                    row[seed, k] = np.abs(got - wanted).max()
            solver.close()
    return np.exp(np.log(np.maximum(errors, 1e-300)).mean(axis=1)).T


@pytest.mark.verification
@pytest.mark.parametrize("value", [1.0, -1.0])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_exact_solution_on_the_circle(verify_order, value, degree):
    start = PoissonKernel((0.3, 0.4)) if value > 0 else PoissonKernel((0.45, 0.6))
    sizes = [60, 120, 240]
    attention = Attention("unnormalised", 0.0, value=value)
    errors, *_ = study("circle", attention, start, 1.0, degree, sizes, seeds=3)
    order = verify_order(
        f"degree {degree} on the circle, V = {value:g} I",
        degree + 1,
        "exact nonlinear solution at beta = 0, t = 1",
        errors,
        sizes,
        f"L2 error {errors[-1]:.1e} with {sizes[-1]} cells",
    )
    assert order >= degree + 0.8


NORMAL = {1: Gaussian((0.3,), 0.9), 2: Gaussian((0.3, -0.2), ((0.9, 0.2), (0.2, 0.6)))}
ANY_LOGITS = np.array([[0.4, 0.15], [-0.2, 0.3]])
MODELS = {
    "isotropic": Attention(beta=0.5, value=-1.0),
    "anisotropic": Attention(beta=1.0, query=np.diag([0.5, 0.2]), value=-1.0),
    "not symmetric": Attention(beta=1.0, query=ANY_LOGITS, value=-1.0),
    "two heads": Attention(beta=1.0, heads=[Head(0.5, 0.5, -1.0), Head(ANY_LOGITS, None, -0.5)]),
    "l2": Attention("l2", 0.4, value=-1.0),
    "sinkhorn": Attention("sinkhorn", 0.5, value=-1.0),
    "linear": Attention("linear", 0.3, value=-1.0),
}


@pytest.mark.verification
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_softmax_on_the_line(verify_order, degree):
    sizes = [48, 96, 192]
    errors, *_ = study("box", MODELS["isotropic"], NORMAL[1], 0.5, degree, sizes, seeds=3)
    order = verify_order(
        f"degree {degree} on the line, softmax",
        degree + 1,
        "normal distribution",
        errors,
        sizes,
        f"L2 error {errors[-1]:.1e} with {sizes[-1]} cells",
    )
    assert order >= degree + 0.8


@pytest.mark.verification
@pytest.mark.parametrize("temperature", [0.0, 0.1])
@pytest.mark.parametrize("name", ["isotropic", "l2", "sinkhorn", "linear"])
def test_every_law_on_the_line(verify_order, name, temperature):
    sizes = [20, 40, 80]
    errors, of_mean, of_covariance = study(
        "box", MODELS[name], NORMAL[1], 0.4, 2, sizes, temperature
    )
    order = verify_order(
        f"degree 2 on the line, {MODELS[name].law}, kappa = {temperature:g}",
        3,
        "normal distribution",
        errors,
        sizes,
        f"errors of the mean {of_mean[-1]:.1e}, of the variance {of_covariance[-1]:.1e}",
    )
    assert order >= 2.7
    # Moments are integrals: they converge faster than the density.
    assert of_mean[-1] < 1e-6 and of_covariance[-1] < 1e-5


@pytest.mark.slow
@pytest.mark.verification
@pytest.mark.parametrize("temperature", [0.0, 0.1])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_every_law_in_the_plane(verify_order, rate, name, temperature, degree):
    sizes = {1: [10, 20, 40], 2: [20, 40], 3: [10, 20, 30]}[degree]
    errors, of_mean, of_covariance = study(
        "box", MODELS[name], NORMAL[2], 0.3, degree, sizes, temperature, half_width=6.0
    )
    verify_order(
        f"degree {degree} in the plane, {name}, kappa = {temperature:g}",
        degree + 1,
        "normal distribution",
        errors,
        sizes,
        f"errors of the mean {of_mean[-1]:.1e}, of the covariance {of_covariance[-1]:.1e}",
        f"order of the latter {rate(of_covariance, sizes):.1f}",
    )
    assert rate(errors, sizes, len(sizes)) >= degree + 0.7
    assert rate(of_covariance, sizes, len(sizes)) >= degree + 0.8
    assert of_mean[-1] < {1: 1e-3, 2: 1e-5, 3: 1e-5}[degree]


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_softmax_in_the_plane(rate, temperature):
    sizes = [14, 28]
    errors, _, of_covariance = study(
        "box", MODELS["not symmetric"], NORMAL[2], 0.2, 2, sizes, temperature, half_width=5.5
    )
    assert rate(errors, sizes) >= 2.7
    assert of_covariance[-1] < 1e-4


@pytest.mark.slow
@pytest.mark.verification
@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_softmax_in_space(verify_order, rate, temperature):
    start = Gaussian((0.2, -0.1, 0.1), 0.5)
    sizes = [4, 6, 8]
    errors, of_mean, of_covariance = study(
        "box", MODELS["isotropic"], start, 0.2, 2, sizes, temperature, half_width=4.0
    )
    verify_order(
        f"degree 2 in R^3, softmax, kappa = {temperature:g}",
        3,
        "normal distribution",
        errors,
        sizes,
        f"errors of the mean {of_mean[-1]:.1e}, of the covariance {of_covariance[-1]:.1e}",
        f"order of the latter {rate(of_covariance, sizes):.1f}",
    )
    for each in (errors, of_mean, of_covariance):
        assert rate(each, sizes, len(sizes)) >= 2.8


@pytest.mark.verification
@pytest.mark.parametrize("dimension", [1, 2])
def test_linear_attention_moves_any_density(verify_order, dimension):
    # Two bumps, no normal distribution: x(t) = M(t) x(0).
    parts = (Gaussian((0.8,) * dimension, 0.2), Gaussian((-0.5,) * dimension, 0.3))
    start, sizes = Mixture(parts, (0.4, 0.6)), [24, 48] if dimension == 1 else [16, 32]
    errors, of_mean, _ = study(
        "box", Attention("linear", 0.3), start, 0.4, 2, sizes, half_width=5.0
    )
    order = verify_order(
        f"degree 2 in R^{dimension}, linear law from two bumps",
        3,
        "x(t) = M(t) x(0)",
        errors,
        sizes,
        f"error of the mean {of_mean[-1]:.1e}",
    )
    assert order >= 2.5
    assert of_mean[-1] < 1e-3


def test_a_disk_holds_what_a_square_holds():
    attention, start = MODELS["not symmetric"], NORMAL[2]
    exact = exact_solution(attention, start, 0.2)
    domain = ball(MPI.COMM_WORLD, radius=6.0, cells=10, dimension=2, perturbation=0.1)
    solver = advance(DensitySolver(domain, attention, 2, start.density), 0.2)
    assert l2_distance(solver, exact.density) < 2e-3


def test_a_sphere_is_the_unit_sphere():
    domain = circle(MPI.COMM_WORLD, cells=12)
    domain.geometry.x[:] *= 2
    with pytest.raises(ValueError, match="unit circle"):
        DensitySolver(domain, Attention(), 1, lambda x: np.ones(len(x)))


def amplification(step, symbol):
    """The largest growth of a wave in one step of u' = Z u, Z the symbol times dt."""
    identity = np.eye(len(symbol), dtype=complex)
    return np.abs(np.linalg.eigvals(step(identity, symbol))).max()


def transport_symbol(degree, wave):
    """Upwind elements of unit width and speed, on Legendre polynomials and one Fourier mode."""
    t, w = np.polynomial.legendre.leggauss(degree + 2)
    series = [np.polynomial.Legendre.basis(k) for k in range(degree + 1)]
    values = np.array([p(t) for p in series])
    slopes = np.array([p.deriv()(t) for p in series])
    right, left = np.ones(degree + 1), (-1.0) ** np.arange(degree + 1)
    inflow = np.exp(-1j * wave) * np.multiply.outer(left, right)
    tendency = (slopes * w) @ values.T - np.multiply.outer(right, right) + inflow
    return 2 * np.linalg.solve((values * w) @ values.T, tendency)


def explicit_step(integrator):
    def step(u, z):
        def tendency(v, time):
            return Rate(z @ v)

        return integrator.step(
            u, 0.0, 1.0, tendency(u, 0.0), tendency=tendency, limit=lambda v: 0
        ).after

    return step


def explicit_part(integrator):
    def step(u, z):
        rates = []
        for row in integrator.explicit:
            rates.append(
                z @ (u + sum((a * k for a, k in zip(row[: len(rates)], rates, strict=True)), 0 * u))
            )
        return u + sum(w * k for w, k in zip(integrator.weights, rates, strict=True))

    return step


@pytest.mark.parametrize(
    "degree, limit, step",
    [(p, c, explicit_step(ssp.BY_DEGREE[p])) for p, c in step_length._STABLE_COURANT.items()]
    + [
        (p, c, explicit_part(imex.BY_DEGREE[p]))
        for p, c in step_length._STABLE_COURANT_WITH_NOISE.items()
    ],
)
def test_steps_are_at_most_stable(degree, limit, step):
    def worst(courant):
        waves = np.linspace(0, 2 * np.pi, 121)
        return max(amplification(step, courant * transport_symbol(degree, k)) for k in waves)

    assert worst(limit) <= 1 + 1e-9
    assert worst(1.01 * limit) > 1 + 1e-9


@pytest.mark.parametrize("temperature", [0.0, 0.01])
def test_long_runs_on_fine_lines_are_stable(temperature):
    # Many steps at the speed that sets them: an unstable one would have grown by orders.
    start = Gaussian((0.3,), 0.25)
    attention = Attention(beta=0.0)
    domain = box(MPI.COMM_WORLD, half_width=8.0, cells=200, dimension=1)
    solver = DensitySolver(domain, attention, 3, start.density, temperature=temperature)
    advance(solver, 1.0)
    exact = exact_solution(attention, start, 1.0, temperature)
    assert l2_distance(solver, exact.density) < 1e-5
    solver.close()


class TestBoundary:
    """A box that does not hold the density."""

    attention = Attention(beta=0.5)

    def solver(self, boundary, temperature=0.0, dimension=1, degree=2):
        domain = mesh_of("box", dimension, degree, 16, half_width=3.0)
        start = Gaussian((0.5,) + (0.0,) * (dimension - 1), 0.5)
        return DensitySolver(
            domain,
            self.attention,
            degree,
            start.density,
            temperature=temperature,
            boundary=boundary,
        )

    @pytest.mark.parametrize("temperature", [0.0, 0.2])
    @pytest.mark.parametrize("dimension", [pytest.param(1, marks=pytest.mark.mpi), 2])
    def test_what_leaves_is_counted(self, temperature, dimension):
        solver = advance(self.solver("outflow", temperature, dimension), 0.5)
        assert 1e-3 < solver.outflow < 0.5
        assert abs(solver.mass() + solver.outflow - 1) < 1e-13
        assert solver.range()[0] >= 0
        solver.close()

    @pytest.mark.mpi
    @pytest.mark.parametrize("temperature", [0.0, 0.2])
    @pytest.mark.parametrize("degree", [1, 3])
    def test_nothing_leaves(self, temperature, degree):
        solver = advance(self.solver("no-flux", temperature, degree=degree), 0.5)
        assert solver.outflow == 0
        assert abs(solver.mass() - 1) < 1e-13
        assert solver.range()[0] >= 0
        solver.close()

    def test_the_outflow_is_the_mass_beyond_the_edge(self):
        # Where the law does not see the tails, what has left is what the exact density has there.
        attention = Attention("linear", 0.5)
        start, edge = Gaussian((0.0,), 0.36), 2.0
        domain = box(MPI.COMM_WORLD, half_width=edge, cells=80, dimension=1, perturbation=0.1)
        solver = advance(DensitySolver(domain, attention, 2, start.density), 0.2)
        spread = np.sqrt(exact_solution(attention, start, 0.2).moments()[1][0, 0])
        beyond = erfc(edge / spread / np.sqrt(2)) - erfc(edge / 0.6 / np.sqrt(2))
        # The second moment lacks what has left, too: some per cent of so little.
        assert solver.outflow == pytest.approx(beyond, rel=0.1)

    def test_an_unknown_boundary(self):
        with pytest.raises(ValueError, match="no-flux"):
            self.solver("open")


@pytest.mark.parametrize("start", [Box((-1.0, -0.5), (0.5, 1.0)), Ball((-0.2, 0.3), 0.9)])
def test_measures_that_jump_are_projected_without_undershoots(start):
    domain = mesh_of("box", 2, 2, 24, half_width=2.0)
    solver = DensitySolver(domain, Attention(beta=0.1, value=-1.0), 2, start.density)
    assert abs(solver.initial_mass - 1) < 0.1
    assert solver.range()[0] >= 0
    advance(solver, 0.1)
    assert solver.range()[0] >= 0
    assert abs(solver.mass() - 1) < 1e-13


@pytest.mark.mpi
@pytest.mark.parametrize("temperature", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["circle", "box"])
def test_values_do_not_depend_on_the_number_of_ranks(kind, temperature):
    def final(comm):
        start = PoissonKernel((0.3, 0.4)) if kind == "circle" else NORMAL[2]
        domain = mesh_of(kind, 2, 2, 20 if kind == "circle" else 6, comm)
        solver = DensitySolver(
            domain, Attention(beta=0.5, value=-1.0), 2, start.density, temperature=temperature
        )
        advance(solver, 0.2)
        gathered = comm.allgather((solver.numbers, solver.values))
        numbers, values = (np.concatenate(part) for part in zip(*gathered, strict=True))
        solver.close()
        return values[np.argsort(numbers)]

    alone, together = final(MPI.COMM_SELF), final(MPI.COMM_WORLD)
    bound = 1e-10 if temperature else 1e-12  # with an iterative solver, without one
    assert np.abs(alone - together).max() < bound * alone.max()


@pytest.mark.parametrize("temperature", [0.0, 0.05])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_large_logits_meet_no_weight_below_zero(degree, temperature):
    # Where a density is -1e-18, attention at logits of thousands would see nothing else.
    start = Mixture((Gaussian((-1.0,), 0.1), Box((0.0,), (1.0,))), (1.0, 2.0))
    solver = DensitySolver(
        box(MPI.COMM_WORLD, half_width=4.0, cells=32, dimension=1),
        Attention(beta=300.0, value=-1.0),
        degree,
        start.density,
        temperature=temperature,
    )
    while solver.time < 0.02:
        solver.step(0.02)
        assert solver.weights.min() >= 0
    solver.close()
