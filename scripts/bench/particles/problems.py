"""What ``meanformer bench particles`` measures: tokens, their step, and where it should end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Attention, Sphere
from meanformer.scripts.bench import comparison
from meanformer.scripts.bench.means import softmax_mean

#: The time step.
STEP = 0.1
#: So many tokens are compared with steps in extended precision.
SAMPLE = 20
# Of the tokens that act on the sample.
_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class Problem(comparison.Problem):
    """Softmax attention of tokens on a sphere; sizes are numbers of tokens in all.

    Attributes:
        dimension: d, of the space around the sphere.
        beta: Inverse temperature; Q, K and V are identities.
        tokens: In each of many systems, or None where all are one system.
        wanted: What is wanted of ours at the largest of its sizes, in words.
    """

    dimension: int
    beta: float
    tokens: int | None = None
    wanted: str = ""

    @property
    def attention(self) -> Attention:
        """The model."""
        return Attention(beta=self.beta)

    @property
    def space(self) -> Sphere:
        """Where tokens are."""
        return Sphere(self.dimension)

    def whole(self, size: int) -> int:
        """The least number of tokens in whole systems that is no less."""
        return size + -size % (self.tokens or 1)

    def start(self, size: int) -> Array:
        """Independent uniform tokens, one system after another, the same at each call."""
        x = np.random.default_rng(20250611).normal(size=(self.whole(size), self.dimension))
        return np.divide(x, np.linalg.norm(x, axis=1)[:, None])

    def apart(self, tokens: Array) -> Array:
        """The tokens of each system, ``shape=(R, n, d)``."""
        return tokens.reshape(-1, self.tokens or len(tokens), self.dimension)


def step(mean: Callable[[Any], Any], before: Any) -> Any:
    """One step of the classical fourth-order method (Kutta 1901), and the normalisation.

    Args:
        mean: sum_j e^{beta <x_i, x_j>} x_j / Z_i of all tokens.
        before: Tokens, an array or a tensor, ``shape=(..., d)``.
    """

    def rate(state: Any) -> Any:
        x = unit(state)
        v = mean(x)
        return v - (v * x).sum(axis=-1, keepdims=True) * x

    k1 = rate(before)
    k2 = rate(before + 0.5 * STEP * k1)
    k3 = rate(before + 0.5 * STEP * k2)
    k4 = rate(before + STEP * k3)
    return unit(before + STEP / 6 * (k1 + 2 * (k2 + k3) + k4))


def unit(x: Any) -> Any:
    """X / |x|, of arrays and of tensors."""
    return x / (x * x).sum(axis=-1, keepdims=True) ** 0.5


def error_of(problem: Problem, before: Array, after: Array) -> float:
    """The largest distance of a token after a step from where it should be.

    Of ``SAMPLE`` tokens, which move in extended precision (``numpy.longdouble``). What acts on
    them at each stage are all tokens in double precision, by our sums to 1e-12: an error there
    enters times the length of the step.

    Args:
        problem: What was computed.
        before: Tokens before, ``shape=(N, d)``.
        after: Tokens after.
    """
    acting: list[Array] = []

    def mean(x: Array) -> Array:
        acting.append(x)
        return our_velocity(problem, x, _TOLERANCE)

    step(mean, before)
    chosen = np.random.default_rng(1).permutation(len(before))[:SAMPLE]
    of_system = chosen // (problem.tokens or len(before))
    stages = iter(acting)

    def exact_mean(x: Array) -> Array:
        points, rows = problem.apart(next(stages)), []
        for target, system in zip(x, of_system, strict=True):
            own = points[system].astype(np.longdouble)
            rows.append(softmax_mean(problem.beta * target[None], own, np.ones(len(own)))[0])
        return np.stack(rows)

    exact = step(exact_mean, before[chosen].astype(np.longdouble))
    return float(np.sqrt(((after[chosen] - exact) ** 2).sum(axis=1).max()))


def our_velocity(problem: Problem, x: Array, tolerance: float = 1e-10) -> Array:
    """The velocity of tokens on this rank alone by ``Attention``, ``shape=(N, d)``."""
    systems = len(x) // problem.tokens if problem.tokens else None
    weights = np.full(len(x), (systems or 1) / len(x))
    given = x, x, weights, problem.space, tolerance
    return problem.attention.velocity(*given, systems=systems)


_SIZES = (10_000, 100_000, 1_000_000)
_LARGEST, _OURS = _SIZES[-1:], ("ours",)
# The last two where there is a GPU.
_WIDE = ("ours", "torch", "numpy", "ours, GPU", "torch, GPU")
_SPHERE = (3, 9.0)
_ALL = (
    Problem("sphere", "S², β = 9", _SIZES, *_SPHERE, wanted="< 2 s"),
    Problem("wide", "d = 64", (4096,), 64, 4.0, methods=_WIDE),
    Problem("wide", "d = 768", (4096,), 768, 4.0, methods=_WIDE),
    Problem("systems", "systems of 2, d = 3", (8000,), 3, 1.0, tokens=2),
    Problem("systems", "systems of 32, d = 32", (8192,), 32, 4.0, tokens=32),
    Problem("systems", "systems of 64, d = 16", (64_000,), 16, 4.0, tokens=64),
    Problem("memory", "memory", _LARGEST, *_SPHERE, wanted="< 1 GB", methods=_OURS, task="memory"),
    Problem(
        "ranks", "two ranks", _LARGEST, *_SPHERE, wanted="≥ 1.7", methods=_OURS, task="on_ranks"
    ),
)
#: Every problem by its title, in the order of the table.
PROBLEMS = {problem.title: problem for problem in _ALL}
#: What ``--problems`` allows.
GROUPS = tuple(dict.fromkeys(problem.group for problem in _ALL))
