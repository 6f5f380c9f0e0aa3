"""The attention of a weighted measure in extended precision, from its definition."""

from typing import NamedTuple

import numpy as np
import pytest


class Reference(NamedTuple):
    velocity: np.ndarray
    log_partition: np.ndarray  # a row for each head
    terms: np.ndarray  # what the absolute values of the velocity's terms add up to


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


def exact(matrix, dimension):
    """A matrix in extended precision: None is the identity, a number a multiple of it."""
    matrix = np.asarray(1.0 if matrix is None else matrix, dtype=np.longdouble)
    return matrix if matrix.ndim else matrix * np.eye(dimension, dtype=np.longdouble)


class Undetermined(RuntimeError):
    """Sinkhorn's potential is beyond double precision."""


def sinkhorn_potential(logits, w):
    """g with both marginals of e^{f + g + logits} equal to one, and int f = int g.

    Newton's method for the concave dual, int f + int g - iint e^{f + g + logits}.

    Raises:
        Undetermined: If g loses more than three digits of double precision.
    """
    symmetric = np.abs(logits - logits.T).max() <= 1e-17 * np.abs(logits).max()
    n, g = len(w), np.zeros(len(w), dtype=np.longdouble)
    for _ in range(100):
        f = -log_sum(logits + g, w)
        g = -log_sum((logits + f[:, None]).T, w)

    def dual(f, g):
        with np.errstate(over="ignore"):
            return w @ f + w @ g - w @ np.exp(logits + f[:, None] + g) @ w

    for _ in range(100):
        plan = w[:, None] * np.exp(logits + f[:, None] + g) * w
        rows, columns = plan.sum(axis=1), plan.sum(axis=0)
        residual = np.concatenate([w - rows, w - columns])
        if np.abs(residual / np.concatenate([w, w])).max() < 1e-16:
            if symmetric:  # f = g is the solution, and is determined even where blocks decouple
                return (f + g) / 2
            second = np.linalg.svd((plan / np.sqrt(np.outer(w, w))).astype(float))[1][1]
            if not 1 - second > 1e-3:
                raise Undetermined(f"two blocks exchange no more than {1 - second:.1e}")
            return g + w @ (f - g) / (2 * w.sum())
        hessian = np.block([[np.diag(rows), plan], [plan.T, np.diag(columns)]])
        # f + c, g - c is a solution as well: keep g_n.
        step = np.append(solve(hessian[:-1, :-1], residual[:-1]), 0)
        length = np.longdouble(1)
        if not np.all(np.isfinite(step)):
            break
        at_rest = dual(f, g)
        while not dual(f + length * step[:n], g + length * step[n:]) >= at_rest - 1e-18:
            length /= 2
        f, g = f + length * step[:n], g + length * step[n:]
    raise Undetermined("Newton's method does not converge in extended precision")


def solve(matrix, right):
    """Gauss elimination of a positive definite matrix in extended precision."""
    rows = np.column_stack([matrix, right])
    for k in range(len(rows)):
        rows[k] /= rows[k, k]
        others = np.arange(len(rows)) != k
        rows[others] -= rows[others, k, None] * rows[k]
    return rows[:, -1]


def log_sum(logits, w):
    top = logits.max(axis=1)
    return np.log(np.exp(logits - top[:, None]) @ w) + top


def kernel_of(attention, x, y, w, query, key):
    """k(x, y) e^{-c(x)}, and c(x), for one head."""
    beta = np.longdouble(attention.beta)
    q, k = x @ query.T, y @ key.T
    logits = beta * q @ k.T
    match attention.law:
        case "linear":
            return logits, np.zeros(len(x))
        case "sigmoid":
            return 1 / (1 + np.exp(-(logits + attention.offset))), np.zeros(len(x))
        case "hardmax":
            maximal = logits >= logits.max(axis=1)[:, None] - 1e-12 * np.abs(logits).max()
            return maximal.astype(np.longdouble), np.zeros(len(x))
        case "feature-map":

            def log_features(u):
                return np.where(u > 0, np.log1p(np.maximum(u, 0)), u)

            terms = log_features(beta * q)[:, None] + log_features(k)
            top = terms.max(axis=(1, 2))
            return np.exp(terms - top[:, None, None]).sum(axis=2), top
        case "l2":
            logits = -beta * ((q[:, None] - k[None]) ** 2).sum(axis=2)
        case "sinkhorn":
            logits = logits + sinkhorn_potential(beta * (y @ query.T) @ k.T, w)
        case "softmax" | "unnormalised":
            pass
        case unknown:
            raise ValueError(f"the definition of {unknown} must be told here")
    top = logits.max(axis=1)
    return np.exp(logits - top[:, None]), top


@pytest.fixture(scope="session")
def reference():
    """The sum over all heads, projected if ``spherical``; see ``Attention`` for the laws."""

    def evaluate(attention, targets, points, weights, spherical=True):
        x, y, w = (np.asarray(a, dtype=np.longdouble) for a in (targets, points, weights))
        y, w = y[w != 0], w[w != 0]
        velocity, terms, log_partition = np.zeros_like(x), np.zeros(len(x), np.longdouble), []
        for head in attention.all_heads:
            query, key, value = (exact(m, x.shape[1]) for m in (head.query, head.key, head.value))
            kernel, top = kernel_of(attention, x, y, w, query, key)
            partition = (w * kernel).sum(axis=1)
            factor = 1 / partition if attention.normalised else np.exp(top)
            mean = (w * kernel * factor[:, None]) @ y
            if attention.relative:
                mean = mean - (partition * factor)[:, None] * x
            velocity += mean @ value.T
            terms += np.linalg.norm(value.astype(float), 2) * (
                (np.abs(w * kernel) @ np.linalg.norm(y.astype(float), axis=1)) * factor
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                log_partition.append(np.log(partition) + top)
        if spherical:
            velocity -= (velocity * x).sum(axis=1)[:, None] * x
        return Reference(velocity, np.stack(log_partition), terms)

    return evaluate
