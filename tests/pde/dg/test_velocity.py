"""The velocity of a density is that of the measure it stands for, with twice its order."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meanformer.attention import Attention, Euclidean
from meanformer.attention.exact import exact_velocity
from meanformer.attention.measures import Gaussian, Mixture
from meanformer.meshes import box
from meanformer.pde import DensitySolver

COMM = MPI.COMM_WORLD


def two_bumps(dimension):
    """A mixture of normal distributions, one of them not isotropic."""
    tilted = 0.2 * np.eye(dimension) + 0.05
    parts = (
        Gaussian((0.8,) * dimension, tuple(map(tuple, tilted))),
        Gaussian((-0.5,) * dimension, 0.3),
    )
    return Mixture(parts, (0.4, 0.6))


def without_symmetry(dimension):
    query, key, value = np.random.default_rng(3).normal(size=(3, dimension, dimension))
    return Attention("softmax", 0.6 / np.linalg.norm(key.T @ query, 2), query, key, value)


def velocity_error(degree, dimension, cells, seed):
    """The largest error at points inside, over the largest velocity, on a perturbed mesh."""
    attention, measure = without_symmetry(dimension), two_bumps(dimension)
    angles = [0.3, 0.5, 0.7] if dimension == 3 else [0.0, 0.0, 0.4]
    rotation = Rotation.from_euler("xyz", angles).as_matrix()[:dimension, :dimension]
    domain = box(
        COMM,
        half_width=5.0 if dimension < 3 else 4.3,
        cells=cells,
        dimension=dimension,
        rotation=rotation if dimension > 1 else None,
        perturbation=0.15,
        seed=seed,
    )
    solver = DensitySolver(domain, attention, degree, measure.density)
    points, weights, space = solver.points, solver.weights, Euclidean(dimension)
    x = np.random.default_rng(7).uniform(-2, 2, size=(50, dimension))
    got = attention.velocity(x, points, weights, space, 1e-14, COMM)
    solver.close()
    wanted = exact_velocity(attention, measure, x)
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


SIZES = {1: [10, 20, 40], 2: [12, 24, 36], 3: [8, 14, 20]}


@pytest.mark.verification
@pytest.mark.parametrize(
    ("dimension", "degree"),
    [(d, p) for d in (1, 2) for p in range(4)]
    + [(3, 0), (3, 1), pytest.param(3, 2, marks=pytest.mark.slow)],
)
def test_softmax_of_a_mixture(verify, rate, dimension, degree):
    # The density's error is orthogonal to polynomials of a cell: in integrals against the smooth
    # kernel its order p + 1 counts twice.
    sizes, seeds = SIZES[dimension], range(3 if dimension < 3 else 1)
    errors = [
        np.exp(np.mean([np.log(velocity_error(degree, dimension, n, seed)) for seed in seeds]))
        for n in sizes
    ]
    order, expected = rate(errors, sizes, len(sizes)), 2 * degree + 2
    verify(
        f"order {expected} or more, to within 0.3, of the velocity, degree {degree}, R^{dimension}",
        "closed form of a mixture of normal distributions, softmax",
        f"{order:.1f}; error {errors[-1]:.1e} with {sizes[-1]} cells to a side",
    )
    assert order >= expected - 0.3


@pytest.mark.mpi
def test_ranks_share_the_density():
    assert velocity_error(2, 2, 24, 0) < 1e-5
