"""What is wrong with the arguments of an evaluation, and how all ranks come to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import TypeVar, get_args

from meanformer.mpi import MPI

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.attention.backends.plan import Name
from meanformer.attention.drift import Drift
from meanformer.attention.heads import Head
from meanformer.attention.spaces import Space

_NO_NUMBERS = (0, 0, 0)
_Result = TypeVar("_Result")


class Agreement:
    """Ranks that go on only if none has a problem; messages are of those of ``comm``."""

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm

    def accept(self, problem: str | None) -> None:
        """Raise on every rank what went wrong on any. Collective.

        Raises:
            ValueError: If a rank has a problem.
        """
        found = self.first(problem)
        if found is not None:
            raise ValueError(f"attention: {found}")

    def of_each(self, work: Callable[[], _Result], kind: type[Exception]) -> _Result:
        """What each rank does by itself; where it fails on any, it does on all. Collective.

        Args:
            work: Not collective.
            kind: Of errors by which it fails, made of a message alone.
        """
        results: list[_Result] = []
        problem = None
        try:
            results.append(work())
        except kind as error:
            problem = str(error)
        found = self.first(problem)
        if found is not None:
            raise kind(found)
        return results[0]

    def first(self, message: str | None) -> str | None:
        """The message of the first rank that has one; ranks are named if there are several."""
        if self._comm.size == 1:
            return message
        messages = enumerate(self._comm.allgather(message))
        return next((f"{text} (on rank {rank})" for rank, text in messages if text), None)


def as_real(given: npt.ArrayLike) -> Array:
    """An array of real numbers; one of a shape that fits nowhere, if they are none.

    It is one of the kind that compiled functions know: contiguous, and not for reading alone.
    """
    try:
        array = np.require(given, requirements=("C", "W"))
        return array.astype(float, casting="same_kind", copy=False)
    except (TypeError, ValueError):
        return np.empty(_NO_NUMBERS)


def problem_with_options(tolerance: object, backend: object) -> str | None:
    """What is wrong with the options of an evaluation, if anything."""
    if not (isinstance(tolerance, Real) and float(tolerance) > 0):
        return f"tolerance is {tolerance!r}; it must be positive"
    allowed = ("auto", *get_args(Name))
    return None if backend in allowed else f"backend is {backend!r}; allowed: {', '.join(allowed)}"


def problem_with_points(name: str, array: Array, space: Space) -> str | None:
    """What is wrong with targets or points, of which ``as_real`` made an array, if anything."""
    if array.shape == _NO_NUMBERS:
        return f"{name} must be real numbers"
    if array.ndim != 2 or array.shape[1] != space.dimension:
        return f"{name} have shape {array.shape}; expected (n, {space.dimension})"
    good: Callable[[Array], bool]
    for good, what in ((is_finite, "finite"), (space.holds, "a unit vector")):
        if not good(array):
            first = next(i for i in range(len(array)) if not good(array[i : i + 1]))
            return f"{name}[{first}] is {array[first]}; must be {what}"
    return None


def problem_with_systems(
    systems: int | None, targets: Array, points: Array, heads: Mapping[str, Head]
) -> str | None:
    """What is wrong with a number of systems, of rows and of values of heads, if anything."""
    stacks = {name: len(v) for name, h in heads.items() if (v := h.matrices[2]).ndim == 3}
    for name, count in stacks.items():
        if count != systems:
            return f"{name}value is one of {count} systems; expected {systems}"
    if systems is None:
        return None
    if not (isinstance(systems, Integral) and systems >= 0):
        return f"systems is {systems!r}; must be None or a number of systems"
    for name, rows in (("targets", targets), ("points", points)):
        if len(rows) % max(systems, 1) or (len(rows) and not systems):
            return f"{name} have {len(rows)} rows; must be as many in each of {systems} systems"
    return None


def problem_with_model(heads: Mapping[str, Head], drift: Drift | None, space: Space) -> str | None:
    """What of heads, by what stands before their names, and of a drift does not fit a space."""
    problems = [
        f"{name}{p}" for name, head in heads.items() if (p := head.problem_in(space.dimension))
    ]
    if drift is not None and (problem := drift.problem_in(space.dimension)):
        problems.append(f"drift: {problem}")
    return next(iter(problems), None)


def problem_with_weights(weights: Array, count: int, causal: bool) -> str | None:
    """What is wrong with weights, of which ``as_real`` made an array, if anything."""
    if weights.shape == _NO_NUMBERS:
        return "weights must be real numbers"
    if weights.shape != (count,):
        return f"weights have shape {weights.shape}; expected ({count},)"
    if not is_finite(weights):
        first = int(np.argmin(np.isfinite(weights)))
        return f"weights[{first}] is {weights[first]}; weights must be finite"
    if causal and weights.min(initial=0.0) < 0:
        first = int(np.argmin(weights))
        return f"weights[{first}] is {weights[first]}; must not be negative where causal"
    return None


def is_finite(array: Array) -> bool:
    """Whether all numbers are; where their sum is, no array of answers is made."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())
