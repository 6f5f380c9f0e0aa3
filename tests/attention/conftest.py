"""The attention of a weighted measure in extended precision, from its definition."""

from typing import NamedTuple

import numpy as np
import pytest

from meanformer.attention import evaluator


class Reference(NamedTuple):
    velocity: np.ndarray
    log_partition: np.ndarray


@pytest.fixture(autouse=True)
def harmonic_at_any_degree(request, monkeypatch):
    """Let few points test the harmonic backend at degrees where the direct one would be chosen."""
    if "choice" not in request.keywords:
        monkeypatch.setattr(evaluator, "PAIRS_PER_CUBED_DEGREE", 0.0)


@pytest.fixture(scope="session")
def product_rule():
    """Gauss heights times equal longitudes: points, and weights that add up to 4 pi.

    Exact for polynomials of degree below 2 ``heights``.
    """

    def make(heights):
        turns = 2 * heights
        height, w = np.polynomial.legendre.leggauss(heights)
        turn = 2 * np.pi * np.arange(turns) / turns
        radius = np.sqrt(1 - height**2)[:, None]
        points = np.stack(
            [radius * np.cos(turn), radius * np.sin(turn), height[:, None] + 0 * turn], axis=-1
        )
        return points.reshape(-1, 3), np.repeat(w, turns) * 2 * np.pi / turns

    return make


@pytest.fixture(scope="session")
def reference():
    """V int y e^{<Ax,y>} mu(dy), divided by Z for softmax, projected if ``spherical``; log Z."""

    def evaluate(attention, targets, points, weights, spherical=True):
        x, y, w = (np.asarray(a, dtype=np.longdouble) for a in (targets, points, weights))
        y, w = y[w != 0], w[w != 0]
        identity = np.eye(x.shape[1], dtype=np.longdouble)
        query, key, value = (
            identity
            if matrix is None
            else (identity * matrix if np.ndim(matrix) == 0 else identity @ matrix)
            for matrix in (attention.query, attention.key, attention.value)
        )
        logits = np.longdouble(attention.beta) * (x @ query.T) @ (y @ key.T).T
        top = logits.max(axis=1)
        terms = w * np.exp(logits - top[:, None])
        scaled = terms.sum(axis=1)
        velocity = terms @ y @ value.T
        if attention.law == "softmax":
            velocity /= scaled[:, None]
        else:
            velocity *= np.exp(top)[:, None]
        if spherical:
            velocity -= (velocity * x).sum(axis=1)[:, None] * x
        return Reference(velocity, np.log(scaled) + top)

    return evaluate
