"""What tokens in R^d do at late times: the theorems of arXiv 2305.05465."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from meanformer.attention import Attention, Euclidean
from meanformer.particles import TokenSolver
from meanformer.solvers import advance

ALONE = MPI.COMM_SELF
HYPERPLANES = np.array([[0.64709742, 0.81911926], [0.61210449, 0.63263484]])


def tokens(seed, number, attention, dimension=2, rescaled=True):
    start = np.random.default_rng(seed).uniform(-5, 5, size=(number, dimension))
    return TokenSolver(start, attention, Euclidean(dimension), ALONE, rescaled=rescaled)


def matrix_of(solver, attention):
    points = solver.points
    return attention.prepare(points, points, solver.space).matrix(solver.weights)[0]


def is_settled(x):
    """Whether all logits of all tokens but the one nearest the origin are far apart.

    A row attends to an end of the line up to 1e-6 if its largest logit exceeds that of the end's
    neighbour by log(10^6 n).
    """
    sorted_ = np.sort(x[:, 0])
    gap = min(sorted_[1] - sorted_[0], sorted_[-1] - sorted_[-2])
    return np.sort(np.abs(x[:, 0]))[1] * gap > np.log(1e6 * len(x))


@pytest.mark.parametrize("number", [12, 40])
@pytest.mark.parametrize(
    "seeds", [range(3), pytest.param(range(3, 100), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_rows_become_boolean_on_the_line(number, seeds):
    # At the first whole time from 5 on at which the logits are far apart, every row
    # but one at most is e_a or e_b, the leftmost or the rightmost token.
    attention = Attention()
    for seed in seeds:
        solver = advance(tokens(seed, number, attention, 1, rescaled=False), 5.0)
        while not is_settled(solver.points):
            assert advance(solver, solver.time + 1).time < 20
        ends = {int(solver.points.argmin()), int(solver.points.argmax())}
        rows = matrix_of(solver, attention)
        boolean = [row.argmax() in ends and row.max() > 1 - 1e-6 for row in rows]
        assert np.count_nonzero(boolean) >= number - 1, seed


def outside(hull, points):
    """The largest distance of points from a convex hull; negative if all are inside."""
    return (points @ hull.equations[:, :-1].T + hull.equations[:, -1]).max()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dimension", [2, 3])
def test_hulls_are_nested_and_shrink_to_a_polytope(seed, dimension):
    # V = I and Q^T K > 0.
    solver = tokens(seed, 20, Attention(), dimension)
    hull = ConvexHull(solver.points)
    for time in np.linspace(0.5, 15, 30):
        advance(solver, time)
        assert outside(hull, solver.points) < 1e-5
        if np.linalg.matrix_rank(solver.points - solver.points[0], tol=1e-3) < dimension:
            break
        hull = ConvexHull(solver.points)
    # Every token is at a vertex of the hull, or on its boundary.
    inside = -(solver.points @ hull.equations[:, :-1].T + hull.equations[:, -1]).max(axis=1)
    assert inside.max() < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_leading_coordinates_take_three_values_at_most(seed):
    # A simple, real, positive leading eigenvalue of V, and <Q phi, K phi> > 0.
    solver = advance(tokens(seed, 20, Attention(value=HYPERPLANES)), 15.0)
    values, left = np.linalg.eig(HYPERPLANES.T)
    leading = np.sort(solver.points @ left[:, values.real.argmax()].real)
    clusters = 1 + np.count_nonzero(np.diff(leading) > 1e-2)
    assert clusters <= 3
    assert leading[-1] - leading[0] > 1


def random_paranormal(rng):
    """B, V = B diag(1, 1, -0.5) B^{-1} and Q > 0: F is the span of B's first two columns, G of one.

    F and G are not orthogonal, and Q is not symmetric.
    """
    basis, root, turn = rng.normal(size=(3, 3, 3))
    value = basis @ np.diag([1.0, 1.0, -0.5]) @ np.linalg.inv(basis)
    return basis, value, root @ root.T / 3 + 0.3 * np.eye(3) + 0.2 * (turn - turn.T)


@pytest.mark.parametrize(
    "seeds", [range(2), pytest.param(range(2, 50), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_parts_in_the_leading_space_tend_to_the_boundary_of_a_polytope(seeds):
    # V = I on F, of smaller spectral radius on G, and Q^T K > 0: the hulls of the tokens' parts f
    # in F are nested, and each f tends to the boundary of what is left of them, or to 0. In the
    # limit a token attends to the tokens with the largest <A f, f_j>, and is among them.
    angles = 2 * np.pi * np.arange(64) / 64
    directions = np.stack([np.cos(angles), np.sin(angles)])
    for seed in seeds:
        basis, value, query = random_paranormal(np.random.default_rng(seed))
        attention = Attention(query=query, value=value)
        solver = tokens(seed, 20, attention, 3)
        of_f, logits = np.linalg.inv(basis)[:2], basis[:, :2].T @ query @ basis[:, :2]
        reach = [(solver.points @ of_f.T @ directions).max(axis=0)]
        for time in np.linspace(1, 15, 15):
            advance(solver, time)
            reach.append((solver.points @ of_f.T @ directions).max(axis=0))
        size = reach[0].max()
        assert np.diff(reach, axis=0).max() < 1e-6 * size, seed
        part = solver.points @ of_f.T
        normal = part @ logits.T
        length = np.linalg.norm(normal, axis=1)
        # The distance of f from the line that supports all tokens across A f.
        behind = ((normal @ part.T).max(axis=1) - (normal * part).sum(axis=1)) / length
        nearest = np.minimum(behind, np.linalg.norm(part, axis=1))
        assert nearest.max() < 1e-4 * size, seed


@pytest.mark.parametrize("seed", range(3))
def test_covariances_of_repulsive_tokens_shrink_like_one_over_time(seed):
    # V = -I and Q^T K = I; t Cov tends to I/2 (theory of normal distributions).
    solver = advance(tokens(seed, 20, Attention(value=-1.0), rescaled=False), 200.0)
    covariance = np.cov(solver.points.T, bias=True)
    assert 200 * covariance == pytest.approx(np.eye(2) / 2, abs=0.02)
