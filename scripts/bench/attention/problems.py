"""What ``meanformer bench attention`` measures: problems, their points, and their true answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Attention, Euclidean, Space, Sphere
from meanformer.scripts.bench import comparison

#: So many targets are compared with summation in extended precision.
SAMPLE = 50

_PLANE = np.array([[1.0, 0.5], [-0.3, 0.8]])
_SPACE = np.array([[0.9, 0.4, -0.2], [-0.5, 0.8, 0.3], [0.1, -0.4, 0.7]])
_PLANE /= np.linalg.norm(_PLANE, 2)
_SPACE /= np.linalg.norm(_SPACE, 2)


class Measure(NamedTuple):
    """Where the velocity is wanted, and the measure that gives it.

    Attributes:
        targets: x, ``shape=(m, d)``.
        points: y, ``shape=(n, d)``.
        weights: w, ``shape=(n,)``, positive, adding up to 1.
    """

    targets: Array
    points: Array
    weights: Array


@dataclass(frozen=True, eq=False)
class Problem(comparison.Problem):
    """Softmax attention of n points at as many other targets; sizes are values of n.

    Attributes:
        space: Where the points are: uniform on the sphere, uniform in the unit ball of R^d, or
            normal in R^d for d > 3.
        beta: The norm |A| of the logits' matrix.
        tolerance: What our velocity is asked for.
        query: Q, of norm 1, or None for the identity.
        backend: Ours: "auto" lets the library choose.
    """

    space: Space
    beta: float
    tolerance: float
    query: Array | None = None
    backend: Literal["auto", "direct"] = "auto"

    @property
    def attention(self) -> Attention:
        """The model."""
        return Attention(beta=self.beta, query=self.query)

    @property
    def logit_matrix(self) -> Array:
        """A with logits <Ax, y>, ``shape=(d, d)``."""
        return self.beta * (np.eye(self.space.dimension) if self.query is None else self.query)

    def measure(self, size: int) -> Measure:
        """Independent points of equal weights, the same at each call."""
        rng = np.random.default_rng(20250611)
        d = self.space.dimension
        x = rng.normal(size=(2 * size, d))
        if d <= 3:
            x /= np.linalg.norm(x, axis=1)[:, None]
            if isinstance(self.space, Euclidean):
                x *= rng.uniform(size=(2 * size, 1)) ** (1 / d)
        return Measure(x[:size].copy(), x[size:].copy(), np.full(size, 1 / size))


def error_of(problem: Problem, measure: Measure, velocity: Array) -> float:
    r"""Largest error of a velocity, relative to the largest mean \int y e^{<Ax,y>} mu(dy) / Z.

    At ``SAMPLE`` targets, against summation in extended precision (``numpy.longdouble``).

    Args:
        problem: What was computed.
        measure: Its points.
        velocity: Tangent to the space, ``shape=(m, d)``.
    """
    chosen = np.random.default_rng(1).permutation(len(measure.targets))[:SAMPLE]
    x, y, w, a = (
        np.asarray(part, dtype=np.longdouble)
        for part in (measure.targets[chosen], *measure[1:], problem.logit_matrix)
    )
    error = largest = 0.0
    for target, got in zip(x, velocity[chosen], strict=True):
        logits = y @ (a @ target)
        terms = w * np.exp(logits - logits.max())
        mean = (terms / terms.sum()) @ y
        wanted = problem.space.tangent(target[None], mean[None])[0]
        error = max(error, float(np.linalg.norm((got - wanted).astype(float))))
        largest = max(largest, float(np.linalg.norm(mean.astype(float))))
    return error / largest


_SIZES = (10_000, 100_000, 1_000_000)
_LARGEST, _OURS, _NO_KEOPS = _SIZES[-1:], ("ours",), ("ours", "torch", "numpy")
_SPHERE = (Sphere(3), 10.0, 1e-10)
_ALL = (
    Problem("sphere", "S², β = 1", _SIZES, Sphere(3), 1.0, 1e-10),
    Problem("sphere", "S², β = 10", _SIZES, *_SPHERE),
    Problem("sphere", "S², β = 100", _SIZES, Sphere(3), 100.0, 1e-10),
    Problem("plane", "R², |A|R² = 10", _SIZES, Euclidean(2), 10.0, 1e-9, _PLANE),
    Problem("plane", "R², |A|R² = 100", _SIZES, Euclidean(2), 100.0, 1e-9, _PLANE),
    Problem("space", "R³, |A|R² = 10", _SIZES[:2], Euclidean(3), 10.0, 1e-9, _SPACE),
    Problem(
        "direct", "R³, direct sums", (20_000,), Euclidean(3), 10.0, 1e-9, _SPACE, backend="direct"
    ),
    Problem("wide", "d = 64", (4096,), Euclidean(64), 64**-0.5, 1e-9, methods=_NO_KEOPS),
    Problem("wide", "d = 768", (4096,), Euclidean(768), 768**-0.5, 1e-9, methods=_NO_KEOPS),
    Problem("memory", "S², β = 10: memory", _LARGEST, *_SPHERE, methods=_OURS, task="memory"),
    Problem("ranks", "S², β = 10: two ranks", _LARGEST, *_SPHERE, methods=_OURS, task="on_ranks"),
)
#: Every problem by its title, in the order of the table.
PROBLEMS = {problem.title: problem for problem in _ALL}
#: What ``--problems`` allows.
GROUPS = tuple(dict.fromkeys(problem.group for problem in _ALL))
