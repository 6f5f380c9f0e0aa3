"""The attention matrix P: what it multiplies, and over ranks."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean, Head
from meanformer.attention.laws import LAWS


def setup(law):
    rng = np.random.default_rng(1)
    targets, points = rng.normal(size=(7, 3)), rng.normal(size=(20, 3))
    heads = [Head(*rng.normal(size=(3, 3, 3)) / 2), Head(0.5, None, -1.0)]
    weights = rng.dirichlet(np.ones(20))
    weights[4] = 0.0
    return Attention(law, 0.7, heads=heads, offset=-0.3), targets, points, weights


@pytest.mark.mpi
@pytest.mark.parametrize("law", LAWS)
def test_velocity_is_the_matrix_times_the_values(law, share, gather):
    attention, targets, points, weights = setup(law)
    evaluator = attention.prepare(share(targets), share(points), Euclidean(3), comm=MPI.COMM_WORLD)
    matrices = evaluator.matrix(share(weights))
    assert matrices.shape == (2, len(share(targets)), 20)
    in_order = np.concatenate(MPI.COMM_WORLD.allgather(share(np.arange(20))))
    expected = sum(
        matrix @ points[in_order] @ np.broadcast_to(np.asarray(head.value), (3, 3)).T
        if np.ndim(head.value)
        else head.value * matrix @ points[in_order]
        for matrix, head in zip(matrices, attention.heads, strict=True)
    )
    alone = attention.velocity(targets, points, weights, Euclidean(3))
    assert np.abs(gather(expected) - alone).max() < 1e-9 * np.abs(alone).max()
    assert np.array_equal(matrices[:, :, in_order == 4], np.zeros((2, len(share(targets)), 1)))
    if attention.normalised:
        assert np.abs(matrices.sum(axis=2) - 1).max(initial=0.0) < 1e-9


def test_softmax_is_softmax():
    attention, targets, points, weights = setup("softmax")
    matrices = attention.prepare(targets, points, Euclidean(3)).matrix(weights)
    logits = 0.7 * 0.5 * targets @ points.T
    wanted = weights * np.exp(logits)
    wanted /= wanted.sum(axis=1)[:, None]
    assert np.abs(matrices[1] - wanted).max() < 1e-14
