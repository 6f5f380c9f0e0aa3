"""Causal sums by divide and conquer: a triangle of pairs is squares, and smaller triangles.

The pairs of a target and a point before it are those of the later half of the tokens with the
earlier half, a square, and those within each half. A square is a problem of its own, of whatever
backend is the fastest: where one is linear in the number of points, the triangle costs
O(n log n). Small triangles are summed directly, all at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Backend, Sums
from meanformer.attention.backends.causal.past import Past
from meanformer.attention.backends.direct.systems import SystemSums
from meanformer.attention.backends.plan import Choice, Plan, choose
from meanformer.attention.backends.problem import Problem
from meanformer.attention.backends.workers import share_out
from meanformer.serial import COMM_SELF

# Triangles of so many tokens are summed directly: squares of fewer take longer in Python alone.
_LEAF = 1024
# Squares of more than a share 1 / (4 P) of the tokens are shared by all P ranks.
_SHARES = 4


class _Part(NamedTuple):
    """Sums of some targets over some points; numbers are those among all points."""

    targets: slice
    points: slice
    backend: Backend


class CausalSums:
    """``Backend`` for targets that see the points before them. See ``Past``. Collective.

    Every rank holds the points of all. Those squares that are large are shared by all ranks,
    the others are dealt out, and so are the triangles; in the end, all sums are added up.

    Args:
        problem: What the head asks for, of this rank's targets and points.
        past: What targets see.
        choice: Of the squares' backends.

    Attributes:
        plan: That of the largest square.

    Raises:
        ValueError: If the backend asked for cannot serve.
    """

    def __init__(self, problem: Problem, past: Past, choice: Choice) -> None:
        self._past, self._comm, self._choice = past, problem.comm, choice
        factors = problem.log_factors
        self._everyone = replace(
            problem,
            targets=past.points,
            points=past.points,
            comm=COMM_SELF,
            log_factors=None if factors is None else past.gathered(factors),
        )
        self.plan = Plan("direct", "tokens with a past are few", {}, {})
        self._in_rows = problem.kernel.tie_tolerance is not None
        if self._in_rows:
            self.plan = replace(self.plan, reason="maximisers are sought in all of the past")
            self._parts = list(self._rows())
            return
        squares = self._squares()
        if not squares and choice != "auto":
            choose(problem, choice)
        self._parts = [*squares, *self._triangles()]

    def sums(self, weights: Array, log_factors: Array | None = None, moment: bool = True) -> Sums:
        """See ``Backend``."""
        past = self._past
        weights = past.gathered(weights)
        factors = None if log_factors is None else past.gathered(log_factors)
        total = _Total(len(past.points) - past.first, past.points.shape[1] if moment else 0)

        def of(part: _Part) -> Sums:
            some = None if factors is None else factors[part.points]
            return part.backend.sums(weights[part.points], some, moment)

        # Of the others, each has threads of its own.
        for part, sums in zip(self._parts, share_out(of, self._parts, self._in_rows), strict=True):
            rows = slice(part.targets.start - past.first, part.targets.stop - past.first)
            total.add(rows, sums)
        return total.of_all(self._comm, past.own_targets)

    def _squares(self) -> list[_Part]:
        """Squares of the targets with the points before them, the largest first. Collective."""
        first, count = self._past.first, len(self._past.points)
        comm, most = self._comm, 0
        parts: list[_Part] = []
        problem_here: str | None = None
        for number, (targets, points) in enumerate(_squares(first, count)):
            size = points.stop - points.start
            problem = self._everyone
            if comm.size > 1 and size > (count - first) / (_SHARES * comm.size):
                targets, points = (_share(some, comm) for some in (targets, points))
                problem = replace(problem, comm=comm)
            elif number % comm.size != comm.rank:
                continue
            factors = problem.log_factors
            square = replace(
                problem,
                targets=self._past.points[targets],
                points=self._past.points[points],
                log_factors=None if factors is None else factors[points],
            )
            try:
                plan, backend = choose(square, self._choice)
            except ValueError as error:  # of a square that is dealt out, on this rank alone
                problem_here = str(error)
                continue
            if size > most:
                most = size
                reason = f"{plan.reason} (causal: the largest of the squares of pairs)"
                self.plan = replace(plan, reason=reason)
            parts.append(_Part(targets, points, backend))
        found = next(filter(None, comm.allgather(problem_here)), None)
        if found is not None:
            raise ValueError(found)
        return parts

    def _triangles(self) -> Iterator[_Part]:
        """Triangles of targets with points between them, this rank's share."""
        first, count = self._past.first, len(self._past.points)
        whole, rest = divmod(count - first, _LEAF)
        mine = _share(slice(0, whole), self._comm)
        if mine.stop > mine.start:
            rows = slice(first + mine.start * _LEAF, first + mine.stop * _LEAF)
            yield self._directly(rows, rows, mine.stop - mine.start)
        if rest and self._comm.rank == self._comm.size - 1:
            rows = slice(count - rest, count)
            yield self._directly(rows, rows, 1)

    def _rows(self) -> Iterator[_Part]:
        """Some targets at a time with all points before them, this rank's share.

        Maximisers of a part are none of the whole: sums over them are not those of parts.
        """
        first, count = self._past.first, len(self._past.points)
        for start in range(first + self._comm.rank * _LEAF, count, self._comm.size * _LEAF):
            stop = min(start + _LEAF, count)
            yield self._directly(slice(start, stop), slice(0, stop), 1)

    def _directly(self, targets: slice, points: slice, systems: int) -> _Part:
        """Direct sums of systems of targets, which are the last of their points."""
        problem = self._everyone
        count, number = ((some.stop - some.start) // systems for some in (targets, points))
        seen = number - count + np.arange(count) + self._past.mask.sees_itself
        backend = SystemSums(
            problem.queries[targets], problem.keys[points], problem.points[points],
            problem.kernel, systems, seen,
        )  # fmt: skip
        return _Part(targets, points, backend)


def over_past(problem: Problem, past: Past, choice: Choice) -> tuple[Plan, Backend]:
    """What ``choose`` is for causal attention. Collective; errors are those of ``CausalSums``."""
    if problem.systems is not None:
        reason = "systems are many and small, and summed in one call, each target over its past"
        return Plan("direct", reason, {}, {}), SystemSums(
            problem.queries, problem.keys, problem.points, problem.kernel, problem.systems,
            past.seen,
        )  # fmt: skip
    sums = CausalSums(problem, past, choice)
    return sums.plan, sums


class _Total:
    """Sums of parts, each with a scale of its own, put together."""

    def __init__(self, targets: int, columns: int) -> None:
        self._scales = np.full(targets, -np.inf)
        self._sums = np.zeros((targets, 1 + columns))

    def add(self, rows: slice, sums: Sums) -> None:
        """Add the sums of some targets."""
        columns = self._sums.shape[1] - 1
        added = np.column_stack([sums.partition, sums.moment[:, :columns]])
        # What is nothing must not set a scale.
        scales = np.where(added.any(axis=1), sums.log_scale, -np.inf)
        tops = np.maximum(self._scales[rows], scales)
        self._sums[rows] *= _ratios(self._scales[rows], tops)
        self._sums[rows] += added * _ratios(scales, tops)
        self._scales[rows] = tops

    def of_all(self, comm: MPI.Comm, own: slice) -> Sums:
        """The sums of all ranks' parts at this rank's targets. Collective."""
        tops = self._scales.copy()
        comm.Allreduce(MPI.IN_PLACE, tops, op=MPI.MAX)
        sums = self._sums * _ratios(self._scales, tops)
        comm.Allreduce(MPI.IN_PLACE, sums)
        tops[tops == -np.inf] = 0.0
        return Sums(tops[own], sums[own, 0], sums[own, 1:])


def _ratios(scales: Array, tops: Array) -> Array:
    """e^{scale - top}, at most 1, as a column; 0 where there is no scale."""
    ratios: Array = np.exp(scales - np.where(tops > -np.inf, tops, 0.0))
    return ratios[:, None]


def _squares(first: int, count: int) -> Iterator[tuple[slice, slice]]:
    """Squares of targets and points that, with triangles, hold each pair once; large ones first.

    First, all targets with the points before the first of them. Then, of blocks of a size that is
    halved again and again, each second block with the one before it.
    """
    if 0 < first < count:
        yield slice(first, count), slice(0, first)
    size = _LEAF
    while 2 * size < count - first:
        size *= 2
    while size >= _LEAF:
        for start in range(first + size, count, 2 * size):
            yield slice(start, min(start + size, count)), slice(start - size, start)
        size //= 2


def _share(some: slice, comm: MPI.Comm) -> slice:
    """This rank's share of a range."""
    length = some.stop - some.start
    cuts = (some.start + length * rank // comm.size for rank in (comm.rank, comm.rank + 1))
    return slice(*cuts)
