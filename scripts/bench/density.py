"""Tasks of ``meanformer bench pde``: the density solver's steps, and its way to an accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Attention
from meanformer.attention.measures import Mixture, VonMisesFisher
from meanformer.integrators import imex, ssp
from meanformer.meshes import circle, icosphere
from meanformer.pde import DensitySolver
from meanformer.scripts.bench import circle as problem
from meanformer.scripts.bench.circle import OURS, OWN_STEPS, PEER, Solution
from meanformer.scripts.bench.machine import resident_bytes

Result = dict[str, Any]

DEGREE = 2
BETA = 4.0
#: Two caps: the density at the start of ``cases/two-caps.toml``.
START = Mixture(
    (VonMisesFisher((0.0, 0.0, 1.0), 8.0), VonMisesFisher((1.0, 0.0, 0.0), 8.0)), (0.6, 0.4)
)

# Far beyond the steps that are taken.
_END = 4.0
_LEAST_STEPS, _MOST_STEPS = 4, 100
# Runs on the circle are repeated so often, or for so many seconds.
_REPETITIONS = 20
_LONG_ENOUGH = 5.0

# Meshes and numbers of steps that are tried on the circle.
_CELLS = (6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128)
_STEPS = (3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128)
# A stage on as many cells takes twice the time of one on very few.
_CELLS_THAT_DOUBLE = 80
_LARGEST_COST = 1500.0


def sphere(level: int, temperature: float, seconds: float) -> Iterator[Result]:
    """Time steps of the density solver on the icosphere. Collective.

    Args:
        level: Of the icosphere.
        temperature: kappa.
        seconds: Steps are taken for so long, but at least ``_LEAST_STEPS``.

    Yields:
        One result: what a step takes and what its parts take, each the least of all steps and of
        that the most of all ranks, numbers of unknowns and stages, and the most memory of a rank.
    """
    comm = MPI.COMM_WORLD
    domain = icosphere(comm, level=level)
    attention = Attention(beta=BETA)
    solver = DensitySolver(domain, attention, DEGREE, START.density, temperature=temperature)
    solver.step(_END)  # compiles
    samples: list[Array] = []
    began = time.perf_counter()
    proceed = True
    while proceed:
        before = solver.wall_time
        comm.barrier()
        start = time.perf_counter()
        solver.step(_END)
        taken = time.perf_counter() - start
        sample = np.array([taken, *(now - before[part] for part, now in solver.wall_time.items())])
        comm.Allreduce(MPI.IN_PLACE, sample, op=MPI.MAX)
        samples.append(sample)
        late = time.perf_counter() - began > seconds
        proceed = len(samples) < _LEAST_STEPS or (len(samples) < _MOST_STEPS and not late)
        proceed = comm.bcast(proceed)
    least = np.min(samples, axis=0).tolist()
    diffusion = solver.diffusion
    explicit, implicit = ssp.BY_DEGREE[DEGREE], imex.BY_DEGREE[DEGREE]
    result = {
        "unknowns": comm.allreduce(solver.values.size),
        "stages": len(implicit.weights if diffusion else explicit.rows),
        "repetitions": len(samples),
        "seconds": dict(zip(["step", *solver.wall_time], least, strict=True)),
        "iterations": diffusion.iterations / diffusion.solutions if diffusion else None,
        "resident_bytes": comm.allreduce(resident_bytes("at most"), op=MPI.MAX),
    }
    solver.close()
    if comm.rank == 0:
        yield result


def accuracy(sizes: list[int]) -> Iterator[Result]:
    """Time the scheme of Lax and Friedrichs on the circle, and ours to the same accuracy.

    Args:
        sizes: Numbers of its points.

    Yields:
        For each size a result of the peer, one for each degree of ours, of the cheapest computation
        that is at least as accurate, if there is any, and one on the mesh of the fastest of these
        in steps that the solver chooses.
    """
    exact = problem.fourier_solution()
    meshes = {(degree, cells): _OnCircle(degree, cells) for degree in (1, 2, 3) for cells in _CELLS}
    for size in sizes:
        peer = problem.LaxFriedrichs(size, exact.largest_speed)
        error = _distance(peer.solve(), exact.density(peer.angles), 2 * np.pi / size)
        found = {"what": PEER, "error": error, "steps": peer.steps}
        yield {"size": size} | found | _best_time(peer.solve)
        ours = []
        for degree in (1, 2, 3):
            stages = len(ssp.BY_DEGREE[degree].rows)
            tries = sorted(
                (stages * steps * (1 + cells / _CELLS_THAT_DOUBLE), cells, steps)
                for cells in _CELLS
                for steps in _STEPS
            )
            for cost, cells, steps in tries:
                if cost < _LARGEST_COST and meshes[degree, cells].error(steps, exact) <= error:
                    ours.append(meshes[degree, cells].measured(steps, exact))
                    break
        if ours:
            best = min(ours, key=lambda result: result["seconds"])
            mesh = _OnCircle(best["degree"], best["cells"], own_steps=True)
            ours.append(mesh.measured(1, exact))
        yield from ({"size": size} | result for result in ours)


def _best_time(run: Callable[[], object]) -> Result:
    """The least seconds of some repetitions, after a run that has compiled."""
    times: list[float] = []
    while len(times) < 2 or (len(times) < _REPETITIONS and sum(times) < _LONG_ENOUGH):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"seconds": min(times), "repetitions": len(times)}


class _OnCircle:
    """Ours on one mesh of the circle; errors are remembered.

    Args:
        degree: p.
        cells: Of the mesh.
        own_steps: Whether the solver makes steps as short as it thinks fit.
    """

    def __init__(self, degree: int, cells: int, own_steps: bool = False) -> None:
        self._degree, self._cells, self._own_steps = degree, cells, own_steps
        self._errors: dict[int, float] = {}

    def measured(self, steps: int, exact: Solution) -> Result:
        """Of a number of steps, or at least so many: error, time and what was done."""
        error = self.error(steps, exact)
        best = _best_time(lambda: self._solve(steps))
        return best | {
            "what": OWN_STEPS if self._own_steps else OURS,
            "error": error,
            "steps": self._solver.steps,
            "degree": self._degree,
            "cells": self._cells,
        }

    def error(self, steps: int, exact: Solution) -> float:
        """Of the density at the end, in L1; infinite where steps are too long."""
        if steps not in self._errors:
            try:
                self._solve(steps)
                angles = _angles(self._solver.points)
                elements = self._solver.elements
                density = (self._solver.values @ elements.basis.T).ravel()
                weights = elements.quadrature.weights.ravel()
                self._errors[steps] = _distance(density, exact.density(angles), weights)
            except ArithmeticError:
                self._errors[steps] = np.inf
        return self._errors[steps]

    @cached_property
    def _solver(self) -> DensitySolver:
        domain = circle(MPI.COMM_SELF, cells=self._cells, geometry_degree=max(2, self._degree))
        return DensitySolver(
            domain,
            Attention(law="unnormalised", beta=problem.BETA),
            self._degree,
            lambda points: problem.initial_density(_angles(points)),
            step=None if self._own_steps else problem.END,
        )

    @cached_property
    def _start(self) -> Array:
        return self._solver.values

    def _solve(self, steps: int) -> None:
        """From the start to the end in equal steps."""
        solver = self._solver
        solver.values, solver.time, solver.steps = self._start, 0.0, 0
        for end in np.linspace(0, problem.END, steps + 1)[1:]:
            while solver.time < end:
                solver.step(end)


def _angles(points: Array) -> Array:
    return np.arctan2(points[:, 1], points[:, 0])


def _distance(density: Array, exact: Array, weights: Array | float) -> float:
    """Of two densities in L1."""
    return float(np.sum(np.abs(density - exact) * weights))
