"""The choice of a backend for one head, by what each would cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from meanformer.attention.backends.backend import Backend
from meanformer.attention.backends.direct.blocked import BlockedSums
from meanformer.attention.backends.direct.device import DeviceSums, why_no_gpu
from meanformer.attention.backends.direct.pairs import BLOCKED_FROM, direct_cost
from meanformer.attention.backends.direct.stored import LARGEST_LOGIT, MOST_PAIRS, StoredSums
from meanformer.attention.backends.direct.sums import DirectSums
from meanformer.attention.backends.direct.systems import SystemSums
from meanformer.attention.backends.harmonic import sums as harmonic
from meanformer.attention.backends.laplace.grid import SMALLEST_TOLERANCE
from meanformer.attention.backends.laplace.sums import LaplaceSums
from meanformer.attention.backends.moments import FeatureSums, MomentSums
from meanformer.attention.backends.problem import Problem
from meanformer.attention.matrices import times
from meanformer.attention.spaces import Sphere

Name = Literal["harmonic", "laplace", "direct", "cuda"]
#: Where matrix products of direct sums are computed.
Device = Literal["cpu", "cuda"]
#: What a caller asks for; "auto" is the fastest.
Choice = Name | Literal["auto"]

# Points whose logits are smaller than the largest by more nats are left out of direct sums: half of
# it for the round-off, and as much again for the size of leaves.
_NATS = 80.0


@dataclass(frozen=True)
class Plan:
    """Which backend serves one head, and why.

    Attributes:
        backend: Its name; "moments" where two moments give all sums.
        reason: Why this one.
        seconds: What each backend that was considered would take on one core, roughly.
        refused: Why each of the others was not.
    """

    backend: Name | Literal["moments"]
    reason: str
    seconds: Mapping[Name, float]
    refused: Mapping[Name, str]

    def __str__(self) -> str:
        """The choice in a few lines."""
        lines = [f"{self.backend}: {self.reason}"]
        lines += [f"  {name}: about {t:.2g} s on one core" for name, t in self.seconds.items()]
        lines += [f"  {name}: no, {why}" for name, why in self.refused.items()]
        return "\n".join(lines)


def choose(problem: Problem, choice: Choice) -> tuple[Plan, Backend]:
    """The fastest backend that can serve a problem, or the one asked for. Collective.

    Every rank comes to the same choice, and any number of ranks does: it depends on numbers of
    points, on largest coordinates, and on the boxes that hold something.

    Raises:
        ValueError: If the one asked for cannot serve.
    """
    if problem.systems is not None:
        reason = "systems are many and small, and summed in one call"
        return Plan("direct", reason, {}, {}), SystemSums(
            problem.queries, problem.keys, problem.points, problem.kernel, problem.systems
        )
    if problem.kernel.separable:
        if choice != "auto":
            raise ValueError(f"attention: backend {choice!r} cannot serve a product; use auto")
        reason = "the kernel is a product, which needs two moments of the measure"
        kind = MomentSums if problem.kernel.log_features is None else FeatureSums
        sums = kind(problem.queries, problem.keys, problem.points, problem.comm)
        return Plan("moments", reason, {}, {}), sums
    seconds: dict[Name, float] = {}
    refused: dict[Name, str] = {}
    name: Name
    for name in _AUTOMATIC if choice == "auto" else (choice,):
        if seconds.get("harmonic", np.inf) <= _direct_seconds(problem) and name == "laplace":
            refused[name] = "harmonics are linear in the number of points, too"
            continue
        offer = _OFFERS[name](problem)
        if isinstance(offer, str):
            refused[name] = offer
        else:
            seconds[name] = float(offer)
    if not seconds:
        (why,) = refused.values()
        raise ValueError(f"attention: backend {choice!r} cannot serve: {why}")
    best: Name = min(seconds, key=seconds.__getitem__)
    reason = "as asked" if choice != "auto" else _REASONS[best]
    return Plan(best, reason, seconds, refused), _build(best, problem)


def _harmonic_seconds(problem: Problem) -> float | str:
    """What the harmonic backend takes, or why it cannot serve."""
    dimension = problem.space.dimension
    if not isinstance(problem.space, Sphere) or dimension > 3:
        return "it serves the circle and the sphere S^2"
    if not problem.kernel.smooth:
        return "its kernel is not smooth"
    if problem.slope is None:
        return "K^T Q is not a multiple of the identity"
    degree = harmonic.degree_for(problem.kernel, problem.slope, dimension)
    if degree is None:
        return "its kernel takes too many harmonics"
    targets, points = problem.counts
    seconds = harmonic.harmonic_cost(degree, points, targets, dimension, problem.tangential)
    # Where even a uniform measure's Z is lost in the error of the transforms, all is summed twice.
    mean = problem.kernel.eigenvalues(problem.slope, degree, dimension)[0]
    error = harmonic.absolute_error(degree, dimension) * harmonic.LEAST_AMPLITUDE
    lost = mean * problem.tolerance < error
    return seconds + lost * _direct_seconds(problem)


def _laplace_seconds(problem: Problem) -> float | str:
    """What the Laplace backend takes, or why it cannot serve."""
    if not problem.kernel.exponential:
        return "its kernel is the exponential"
    if problem.space.dimension > 3:
        return "it serves up to three dimensions"
    if problem.tolerance < SMALLEST_TOLERANCE:
        return f"its round-off exceeds tolerances below {SMALLEST_TOLERANCE:g}"
    targets, points = problem.counts
    seconds = problem.grid.seconds(targets, points)
    return seconds if np.isfinite(seconds) else "logits are too large for so scattered points"


def _direct_seconds(problem: Problem) -> float:
    """What the direct sum takes; it always can serve."""
    targets, points = problem.counts
    return direct_cost(targets, points, problem.space.dimension) * _share_of_pairs(problem)


def _share_of_pairs(problem: Problem) -> float:
    """The share of pairs that the direct sum does not leave out, roughly.

    Those within ``_NATS`` of the largest logit X: of a spread measure a cap of a sphere,
    1 - cos < ``_NATS`` / X, or of a ball; where boxes were counted, of the points in them.
    """
    if not problem.kernel.exponential or problem.space.dimension >= BLOCKED_FROM:
        return 1.0
    d = problem.space.dimension
    grid = problem.counted_grid
    if grid is not None and grid.kept is not None:
        return grid.kept.near_points
    power = (d - 1) / 2 if isinstance(problem.space, Sphere) else (d + 1) / 2
    return min(1.0, _NATS / max(problem.largest_logit, _NATS)) ** power


def _device_seconds(problem: Problem) -> float | str:
    """What the direct sum takes on a GPU, of which nothing is known, or why it cannot serve."""
    if problem.space.dimension < BLOCKED_FROM:
        return f"it serves {BLOCKED_FROM} dimensions or more"
    return why_no_gpu() or _direct_seconds(problem)


_OFFERS: dict[Name, Callable[[Problem], float | str]] = {
    "harmonic": _harmonic_seconds,
    "laplace": _laplace_seconds,
    "direct": _direct_seconds,
    "cuda": _device_seconds,
}
_REASONS: dict[Name, str] = {
    "harmonic": "the kernel is diagonal in harmonics, and points are many",
    "laplace": "the exponential is a product over coordinates, and points are many",
    "direct": "pairs are few, or few of them count, or no fast backend can serve",
}
# What is tried where nobody asks for one.
_AUTOMATIC = tuple(_REASONS)


def _build(name: Name, problem: Problem) -> Backend:
    targets, points, kernel, comm = problem.targets, problem.points, problem.kernel, problem.comm
    if name == "harmonic":
        assert problem.slope is not None
        return harmonic.HarmonicSums(
            targets, points, kernel, problem.slope, problem.tolerance, comm, problem.tangential
        )
    if name == "laplace":
        return LaplaceSums(problem.queries, points, problem.grid, comm)
    few = name == "direct" and kernel.smooth and math.prod(problem.counts) <= MOST_PAIRS
    if few and problem.largest_logit + abs(kernel.offset) <= LARGEST_LOGIT:
        return StoredSums(problem.queries, points, comm, kernel)
    if problem.space.dimension < BLOCKED_FROM:
        return DirectSums(problem.queries, points, comm, kernel)
    queries, keys = times(targets, problem.query.T), times(points, problem.key.T)
    kind = DeviceSums if name == "cuda" else BlockedSums
    return kind(queries, keys, points, comm, kernel)
