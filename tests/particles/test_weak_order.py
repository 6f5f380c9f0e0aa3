"""The order in law of steps with noise, by quadrature over the noise: nothing is sampled.

Means after one step are compared with means after two of half its length. The difference is of the
order of the local error, which is one more than that of the error at a fixed time.
"""

from itertools import product

import numpy as np
import pytest
from scipy.linalg import expm

from meanformer.attention import Euclidean, Sphere
from meanformer.particles.brownian import brownian_step
from meanformer.particles.stochastic import heun_step

TILTED = np.array([[1.0, 0.4, 0.0], [-0.3, 0.2, 0.5], [0.6, 0.0, -0.8]])


def softmax(x, beta, value, on_sphere):
    """Velocity of systems of a few tokens, by definition; ``shape=(systems, n, d)``."""
    weights = np.exp(beta * x @ np.swapaxes(x, 1, 2))
    v = (weights / weights.sum(axis=2, keepdims=True)) @ x @ value.T
    return v - (v * x).sum(axis=2, keepdims=True) * x if on_sphere else v


def grid(columns, count=5):
    """Nodes and weights of independent standard normal numbers."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    shares = np.array(list(product(weights / weights.sum(), repeat=columns)))
    return np.array(list(product(nodes, repeat=columns))), shares.prod(axis=1)


def step(x, normals, dt, kappa, space, rate):
    """One step of systems; states and normals ``shape=(systems, n, d)``."""
    rows, shape = (-1, x.shape[2]), x.shape
    flat = x.reshape(rows)
    return heun_step(
        flat,
        dt,
        rate(x).reshape(rows),
        rate=lambda u: rate(u.reshape(shape)).reshape(rows),
        diffuse=lambda u: brownian_step(u, normals.reshape(rows), kappa * dt, space),
        space=space,
    ).reshape(shape)


def mean_after(start, steps, time, kappa, space, rate, observable):
    """The mean of an observable of a few tokens after so many steps."""
    nodes, weights = grid(start.size)
    x, probability = start[None], np.ones(1)
    for _ in range(steps):
        count = len(x)
        x = np.repeat(x, len(nodes), axis=0)
        normals = np.tile(nodes, (count, 1)).reshape(len(x), *start.shape)
        x = step(x, normals, time / steps, kappa, space, rate)
        probability = np.outer(probability, weights).ravel()
    return probability @ observable(x)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


SYSTEMS = {
    "two tokens on the circle": (
        Sphere(2),
        unit(np.array([[1.0, 0.2], [-0.3, 0.8]])),
        lambda x: softmax(x, 2.0, TILTED[:2, :2], True),
    ),
    "a token on the sphere": (
        Sphere(3),
        unit(np.array([[0.5, -0.4, 0.7]])),
        lambda x: softmax(x, 0.0, 2 * TILTED, True),
    ),
    "two tokens on the line": (
        Euclidean(1),
        np.array([[0.7], [-0.4]]),
        lambda x: softmax(x, 1.0, np.array([[-1.3]]), False),
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_local_errors_are_of_third_order(name):
    kappa = 0.3
    space, start, rate = SYSTEMS[name]
    direction = np.array([0.3, -0.9, 0.5])[: space.dimension]

    def observable(x):
        # Of all tokens, with correlations.
        return np.cos(x @ direction).prod(axis=1) + ((x @ direction) ** 3).sum(axis=1)

    given = kappa, space, rate, observable
    times = 0.05 * 2.0 ** -np.arange(2)
    errors = [abs(np.subtract(*(mean_after(start, n, t, *given) for n in (1, 2)))) for t in times]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(orders[-1] - 3) < 0.3


def test_order_two_at_a_fixed_time():
    """A token on the circle: the law's equation d_t u = v d u + kappa d^2 u, in plane waves."""
    kappa, time, size = 0.2, 1.0, 48
    angle = 2 * np.pi * np.arange(size) / size
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None]
    wave = np.fft.fftfreq(size, 1 / size)
    to_waves = np.exp(-1j * np.outer(wave, angle)) / size
    derivative = (np.exp(1j * np.outer(angle, wave)) * (1j * wave)) @ to_waves
    derivative = derivative.real
    nodes, weights = grid(2, 11)

    def rate(x):
        return softmax(x, 0.0, 2 * TILTED[:2, :2], True)

    v = (rate(points)[:, 0] * np.stack([-np.sin(angle), np.cos(angle)], axis=1)).sum(axis=1)
    generator = v[:, None] * derivative + kappa * derivative @ derivative
    start = np.cos(angle) + np.sin(2 * angle)
    exact = expm(time * generator) @ start

    def error(steps):
        x = np.repeat(points, len(nodes), axis=0)
        normals = np.tile(nodes, (size, 1))[:, None]
        x = step(x, normals, time / steps, kappa, Sphere(2), rate)[:, 0]
        waves = np.exp(1j * np.outer(np.arctan2(x[:, 1], x[:, 0]), wave))
        means = weights @ waves.reshape(size, len(nodes), size)
        matrix = (means @ to_waves).real
        return np.abs(np.linalg.matrix_power(matrix, steps) @ start - exact).max()

    errors = np.array([error(steps) for steps in (8, 16, 32, 64)])
    orders = np.log2(errors[:-1] / errors[1:])
    assert abs(orders[-1] - 2) < 0.1
