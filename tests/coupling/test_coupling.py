"""The distance between tokens and density, and what sampling makes of it."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meanformer.attention import Attention, Euclidean, Sphere
from meanformer.attention.measures import Mixture, Uniform, VonMisesFisher
from meanformer.coupling import (
    METRICS,
    harmonic_distance,
    independent_noise,
    sample_density,
    sample_tokens,
    sampling_noise,
    w1,
    wasserstein,
)
from meanformer.meshes import icosphere
from meanformer.particles import TokenSolver, deal_out
from meanformer.pde import DensitySolver
from meanformer.solvers import advance

TWO_CAPS = Mixture(
    (VonMisesFisher((0.0, 0.0, 1.0), 8.0), VonMisesFisher((1.0, 0.0, 0.0), 8.0)), (0.6, 0.4)
)
SOFTMAX = Attention(beta=4.0)
# n times the mean square distance of n independent tokens from the uniform density, L = 32.
VARIANCE = sum((2 * k + 1) / (k * (k + 1)) ** 1.5 for k in range(1, 33))


def density_solver(level=3, comm=MPI.COMM_SELF, measure=TWO_CAPS):
    turn = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()
    domain = icosphere(comm, level=level, rotation=turn, perturbation=0.15)
    return DensitySolver(domain, SOFTMAX, 2, measure.density)


def token_solver(number, seed=0, comm=MPI.COMM_SELF, measure=TWO_CAPS):
    points = sample_tokens(measure, number, seed, comm)
    return TokenSolver(points, SOFTMAX, Sphere(3), comm)


def ensemble_of(tokens):
    return deal_out(tokens, 8, lambda x, _: TokenSolver(x, SOFTMAX, Sphere(3), tokens.comm))


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.mpi
def test_tokens_do_not_depend_on_the_number_of_ranks():
    comm = MPI.COMM_WORLD
    together = np.concatenate(comm.allgather(sample_tokens(TWO_CAPS, 1001, 5, comm)))
    assert np.array_equal(together, sample_tokens(TWO_CAPS, 1001, 5, MPI.COMM_SELF))
    assert not np.array_equal(together, sample_tokens(TWO_CAPS, 1001, 6, MPI.COMM_SELF))


def test_more_tokens_begin_with_the_same_ones():
    few, many = (sample_tokens(TWO_CAPS, n, 0, MPI.COMM_SELF) for n in (10, 100))
    assert np.array_equal(few, many[:10])


def test_distance_of_one_token_from_the_uniform_density():
    # E D^2 = (1/n) sum_l (2l + 1)/(l(l + 1))^{3/2}, by the addition theorem; here n = 1.
    uniform = density_solver(level=3, measure=Uniform())
    one = TokenSolver(np.array([[0.0, 0.6, 0.8]]), SOFTMAX, Sphere(3), MPI.COMM_SELF)
    assert abs(harmonic_distance(uniform, one) ** 2 / VARIANCE - 1) < 1e-5


def test_noise_at_the_start_is_that_of_independent_tokens():
    number = 4000
    noises = []
    for seed in range(6):
        tokens = token_solver(number, seed, measure=Uniform())
        noises.append(sampling_noise(ensemble_of(tokens)))
    # 6 estimates with 7 degrees of freedom in each of about ten modes.
    assert abs(root_mean_square(noises) / np.sqrt(VARIANCE / number) - 1) < 0.12


def test_calibration_makes_the_noise_at_the_start_exact():
    density, tokens = density_solver(3, measure=Uniform()), token_solver(400, measure=Uniform())
    _, noise = METRICS["harmonic"](density, tokens, ensemble_of(tokens)).measure()
    assert abs(noise / np.sqrt(VARIANCE / 400) - 1) < 1e-5


def test_noise_of_independent_tokens_is_that_of_many_samples():
    density = density_solver(3)
    distances = [harmonic_distance(density, token_solver(200, seed)) for seed in range(200)]
    assert abs(root_mean_square(distances) / independent_noise(density, 200) - 1) < 0.06


def test_a_single_token_has_no_noise_estimate():
    assert np.isnan(sampling_noise(ensemble_of(token_solver(1))))


@pytest.mark.mpi
def test_distances_do_not_depend_on_the_number_of_ranks():
    results = []
    for comm in (MPI.COMM_SELF, MPI.COMM_WORLD):
        density, tokens = density_solver(2, comm), token_solver(600, comm=comm)
        ensemble = ensemble_of(tokens)
        metrics = [metric(density, tokens, ensemble) for metric in METRICS.values()]
        for solver in (density, tokens, ensemble):
            advance(solver, 0.2)
        results.append([number for metric in metrics for number in metric.measure()])
    assert np.allclose(*results, rtol=1e-10)


def study(numbers, seeds, level, times):
    """Distances and noises, ``shape=(numbers, seeds, times)``, of independent token systems."""
    density = density_solver(level)
    systems = [[token_solver(n, n + seed) for seed in seeds] for n in numbers]
    ensembles = [[ensemble_of(tokens) for tokens in row] for row in systems]
    metrics = [
        [METRICS["harmonic"](density, *pair) for pair in zip(*rows, strict=True)]
        for rows in zip(systems, ensembles, strict=True)
    ]
    distances = np.empty((len(numbers), len(seeds), len(times)))
    noises = np.empty_like(distances)
    for k, time in enumerate(times):
        advance(density, time)
        for i, j in np.ndindex(distances.shape[:2]):
            advance(systems[i][j], time)
            advance(ensembles[i][j], time)
            distances[i, j, k], noises[i, j, k] = metrics[i][j].measure()
    return distances, noises


def test_distance_is_sampling_noise():
    distances, noises = study([1000], range(8), 3, [0.0, 1.0])
    for k in range(2):
        ratio = root_mean_square(distances[0, :, k]) / root_mean_square(noises[0, :, k])
        assert 0.6 < ratio < 1.5


@pytest.mark.slow
def test_distance_stays_within_its_noise_and_falls_like_the_square_root_of_n():
    numbers = [500, 2000, 8000, 32000]
    seeds = range(16)
    times = [0.0, 0.5, 1.0, 1.5, 2.0]
    distances, noises = study(numbers, seeds, 4, times)
    for k, time in enumerate(times):
        means = [root_mean_square(row) for row in distances[:, :, k]]
        expected = [root_mean_square(row) for row in noises[:, :, k]]
        slope = np.polyfit(np.log(numbers), np.log(means), 1)[0]
        ratios = np.divide(means, expected)
        largest = np.max(distances[:, :, k] / noises[:, :, k])
        print(f"t = {time}: slope {slope:.3f}, rms / noise {ratios.round(2)}, worst {largest:.2f}")
        assert abs(slope + 0.5) < 0.07
        assert np.all((0.7 < ratios) & (ratios < 1.4))
        assert np.mean(distances[:, :, k] < 2 * noises[:, :, k]) > 0.9


@pytest.mark.mpi
def test_points_of_equal_mass_represent_the_density():
    density = density_solver(3, MPI.COMM_WORLD)
    levels = (np.arange(2000) + 0.5) / 2000
    points = sample_density(density, levels)
    mean = density.comm.allreduce(density.weights @ density.points)
    if density.comm.rank == 0:
        assert points.shape == (2000, 3)
        # Independent points would be 1/sqrt(2000) = 0.02 off.
        assert np.linalg.norm(points.mean(axis=0) - mean) < 2e-3
    else:
        assert points is None


def test_w1_between_a_set_and_its_rotation():
    # Points near the equator moved by a small angle along it: every one travels that angle.
    angle = 0.01
    longitude = np.linspace(0, 2 * np.pi, 40, endpoint=False)

    def ring(turn):
        return np.stack([np.cos(longitude + turn), np.sin(longitude + turn), np.zeros(40)], axis=1)

    assert abs(w1(ring(0.0), ring(angle), Sphere(3)) - angle) < 1e-12
    pole, antipode = np.array([[0.0, 0.0, 1.0]]), np.array([[0.0, 0.0, -1.0]])
    assert abs(w1(pole, antipode, Sphere(3)) - np.pi) < 1e-12
    line = np.linspace(0, 9, 10)[:, None]
    assert abs(w1(line, line + 2.5, Euclidean(1)) - 2.5) < 1e-12


def test_w1_is_that_of_the_means_for_distant_masses():
    # Tokens at the north pole, the density around the south pole: W1 is the mean angle.
    sharp = VonMisesFisher((0.0, 0.0, -1.0), 50.0)
    density = density_solver(3, measure=sharp)
    north = np.tile([0.0, 0.0, 1.0], (300, 1))
    tokens = TokenSolver(north, SOFTMAX, Sphere(3), MPI.COMM_SELF)
    mean_angle = density.weights @ np.arccos(np.clip(density.points[:, 2], -1, 1))
    distance, _, _ = wasserstein(density, tokens)
    assert abs(distance - mean_angle) < 5e-3
