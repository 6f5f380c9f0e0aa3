"""What ``meanformer bench attention`` measures: problems, their points, and their true answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from meanformer.attention import Attention, Euclidean, Space, Sphere

#: As many targets are compared with summation in extended precision.
SAMPLE = 50

Array = npt.NDArray[np.float64]
Kind = Literal["speed", "memory", "ranks"]

#: Not symmetric, of spectral norm close to 1 before it is normalised.
_PLANE = ((1.0, 0.5), (-0.3, 0.8))
_SPACE = ((0.9, 0.4, -0.2), (-0.5, 0.8, 0.3), (0.1, -0.4, 0.7))


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


@dataclass(frozen=True)
class Problem:
    """Softmax attention of n points at as many other targets.

    Attributes:
        group: What ``--problems`` calls it.
        title: What the table calls it.
        space: Where the points are: uniform on the sphere, uniform in the unit ball of R^d, or
            normal in R^d for d > 3.
        beta: The norm |A| of the logits' matrix.
        query: Q of norm 1, or None for the identity.
        tolerance: What our velocity is asked for.
        sizes: Values of n.
        methods: Who is measured.
        precision: Of the arithmetic.
        backend: Ours: "auto" lets the library choose.
        kind: "speed" against peers, "memory" of ours, or "ranks": the speed-up by a second rank.
    """

    group: str
    title: str
    space: Space
    beta: float
    tolerance: float
    sizes: tuple[int, ...]
    methods: tuple[str, ...]
    query: tuple[tuple[float, ...], ...] | None = None
    precision: Literal["double", "single"] = "double"
    backend: Literal["auto", "direct"] = "auto"
    kind: Kind = "speed"

    @property
    def attention(self) -> Attention:
        """The model."""
        query = None if self.query is None else np.array(self.query)
        return Attention(
            beta=self.beta, query=None if query is None else query / np.linalg.norm(query, 2)
        )

    @property
    def logit_matrix(self) -> Array:
        """A with logits <Ax, y>, ``shape=(d, d)``."""
        d = self.space.dimension
        query = np.eye(d) if self.query is None else np.array(self.query)
        return self.beta * query / np.linalg.norm(query, 2)

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


def error_of(problem: Problem, measure: Measure, velocity: npt.NDArray[Any]) -> float:
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


def _problems() -> dict[str, Problem]:
    everyone = ("ours", "pykeops", "torch", "numpy")
    million = (10_000, 100_000, 1_000_000)
    sphere, plane, space = Sphere(3), Euclidean(2), Euclidean(3)
    found = [
        Problem("sphere", f"S², β = {beta:g}", sphere, beta, 1e-10, million, everyone)
        for beta in (1.0, 10.0, 100.0)
    ]
    found += [
        Problem(
            "plane", f"R², |A|R² = {beta:g}", plane, beta, 1e-9, million, everyone, query=_PLANE
        )
        for beta in (10.0, 100.0)
    ]
    found += [
        Problem("space", "R³, |A|R² = 10", space, 10.0, 1e-9, million[:2], everyone, query=_SPACE),
        Problem(
            "direct",
            "R³, direct sums",
            space,
            10.0,
            1e-9,
            (20_000,),
            everyone,
            query=_SPACE,
            backend="direct",
        ),
    ]
    found += [
        Problem(
            "wide",
            f"d = {d}, {precision}",
            Euclidean(d),
            d**-0.5,
            1e-9,
            (4096,),
            ("ours", "torch", "numpy"),
            precision=precision,
        )
        for d in (64, 768)
        for precision in ("double", "single")
    ]
    memory = Problem(
        "memory", "S², β = 10: memory", sphere, 10.0, 1e-10, million[2:], ("ours",), kind="memory"
    )
    found += [memory, replace(memory, group="ranks", title="S², β = 10: two ranks", kind="ranks")]
    return {problem.title: problem for problem in found}


#: Every problem by its title, in the order of the table.
PROBLEMS = _problems()
#: What ``--problems`` allows.
GROUPS = tuple(dict.fromkeys(problem.group for problem in PROBLEMS.values()))
