"""Tasks of ``meanformer bench pde``: the density solver's steps, and its way to an accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from itertools import islice
from typing import Any

from meanformer.mpi import MPI

import numpy as np

from meanformer import meshes
from meanformer.arrays import Array
from meanformer.attention import Attention
from meanformer.attention.measures import Mixture, VonMisesFisher
from meanformer.integrators import imex, ssp
from meanformer.pde import DensitySolver
from meanformer.scripts.bench.machine import resident_bytes
from meanformer.scripts.bench.pde import circle
from meanformer.scripts.bench.timing import best_time
from meanformer.solvers import advance

Result = dict[str, Any]

DEGREE = 2
BETA = 4.0
#: Two caps: the density at the start of ``cases/two-caps.toml``.
START = Mixture(
    (VonMisesFisher((0.0, 0.0, 1.0), 8.0), VonMisesFisher((1.0, 0.0, 0.0), 8.0)), (0.6, 0.4)
)

# A time far beyond the steps that are taken.
_FAR = 4.0
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
        A result for each part of a "stage" or, with noise, of a "step", and one for all of it: the
        least seconds of all steps, each of which takes as long as on the slowest rank.
    """
    comm = MPI.COMM_WORLD
    attention = Attention(beta=BETA)
    domain = meshes.icosphere(comm, level=level)
    solver = DensitySolver(domain, attention, DEGREE, START.density, temperature=temperature)
    samples: list[list[float]] = []

    def step() -> None:
        before = solver.wall_time
        solver.step(_FAR)
        samples.append([now - before[part] for part, now in solver.wall_time.items()])

    solver.step(_FAR)  # compiles
    _, times = best_time(step, _MOST_STEPS, seconds, _LEAST_STEPS + 1, comm)
    parts = np.array(samples[1:])
    comm.Allreduce(MPI.IN_PLACE, parts, op=MPI.MAX)
    diffusion = solver.diffusion
    stages = len(imex.BY_DEGREE[DEGREE].weights if diffusion else ssp.BY_DEGREE[DEGREE].rows)
    whole, divided = ("step", 1) if diffusion else ("stage", stages)
    least = dict(zip(solver.wall_time, parts.min(axis=0) / divided, strict=True))
    least[whole] = times["seconds"] / divided
    size = comm.allreduce(solver.values.size)
    resident = comm.allreduce(resident_bytes("at most"), op=MPI.MAX)
    solver.close()
    if comm.rank > 0:
        return
    more: dict[str, Result] = {whole: {"resident_bytes": resident}}
    if diffusion:
        share = least["diffusion"] / least[whole]
        iterations = diffusion.iterations / diffusion.solutions
        note = f"{share:.0%} of the step; {iterations:.1f} iterations a solve"
        more["diffusion"] = {"iterations": iterations, "note": note}
    else:
        ratio = least["attention"] / least["residual"]
        rate = size / least["residual"] / comm.size
        note = f"{ratio:.2f} of the residual"
        more["attention"] = {"ratio": ratio, "note": note, "wanted": "≤ 1"}
        note = f"{rate / 1e6:.1f} million unknowns a second and core"
        more["residual"] = {"rate": rate, "note": note, "wanted": "≥ 6 million"}
    for what, taken in least.items():
        yield {
            "what": what,
            "size": size,
            "seconds": taken,
            "repetitions": len(parts),
            "stages": stages // divided,
            **more.get(what, {}),
        }


def accuracy(sizes: list[int]) -> Iterator[Result]:
    """Time the scheme of Lax and Friedrichs on the circle, and ours to the same accuracy.

    Args:
        sizes: Numbers of its points.

    Yields:
        For each size, if any computation of ours is as accurate, results of the fastest, of the
        same mesh in steps that the solver chooses, and of the peer; else one that says so.
    """
    for size in sizes:
        peer = circle.LaxFriedrichs(size, circle.fourier_solution().largest_speed)
        density, times = best_time(peer.solve, _REPETITIONS, _LONG_ENOUGH, 2)
        error = _distance(density, peer.angles, 2 * np.pi / size)
        result = {"what": circle.PEER, "size": size, "wanted": "≥ 100" if size == 10_000 else ""}
        cheapest = [(degree, *pair) for degree in (1, 2, 3) for pair in as_accurate(degree, error)]
        if not cheapest:
            yield result | {"note": "no computation that was tried is as accurate"}
            continue
        ours = {one: _ours(*one) for one in cheapest}
        degree, cells, _ = best = min(ours, key=lambda one: ours[one]["seconds"])
        yield ours[best]
        yield _ours(degree, cells, None)
        ratio = times["seconds"] / ours[best]["seconds"]
        note = f"{peer.steps} steps; {ratio:.1f} times our seconds"
        yield result | times | {"error": error, "ratio": ratio, "note": note}


def as_accurate(degree: int, error: float) -> Iterator[tuple[int, int]]:
    """Numbers of cells and steps with which ours has no larger error, the cheapest, if any."""
    stages = len(ssp.BY_DEGREE[degree].rows)
    tries = sorted(
        (stages * steps * (1 + cells / _CELLS_THAT_DOUBLE), cells, steps)
        for cells in _CELLS
        for steps in _STEPS
    )
    cheap = ((cells, steps) for cost, cells, steps in tries if cost < _LARGEST_COST)
    return islice((pair for pair in cheap if error_of_ours(degree, *pair) <= error), 1)


def _ours(degree: int, cells: int, steps: int | None) -> Result:
    solve = partial(_solve, degree, cells, steps)
    solver, times = best_time(solve, _REPETITIONS, _LONG_ENOUGH, 2)
    return times | {
        "what": circle.OURS if steps else circle.OWN_STEPS,
        "size": cells * (degree + 1),
        "error": error_of_ours(degree, cells, steps),
        "note": f"degree {degree}, {cells} cells, {solver.steps} steps",
    }


@cache
def error_of_ours(degree: int, cells: int, steps: int | None) -> float:
    """The error of our density on the circle at the end, in L1; infinite if steps are too long."""
    try:
        solver = _solve(degree, cells, steps)
    except ArithmeticError:
        return np.inf
    density = (solver.values @ solver.elements.basis.T).ravel()
    weights = solver.elements.quadrature.weights.ravel()
    return _distance(density, _angles(solver.points), weights)


def _solve(degree: int, cells: int, steps: int | None) -> DensitySolver:
    """Our solver at the end, after equal steps, or, for None, as short ones as it thinks fit."""
    solver, start = _solver_and_start(degree, cells, own_steps=steps is None)
    solver.values, solver.time, solver.steps = start, 0.0, 0
    for end in np.linspace(0, circle.END, (steps or 1) + 1)[1:]:
        advance(solver, end)
    return solver


@cache
def _solver_and_start(degree: int, cells: int, own_steps: bool) -> tuple[DensitySolver, Array]:
    """The solver on a mesh of the circle, and its values at the start."""
    solver = DensitySolver(
        meshes.circle(MPI.COMM_SELF, cells=cells, geometry_degree=max(2, degree)),
        Attention(law="unnormalised", beta=circle.BETA),
        degree,
        lambda points: circle.initial_density(_angles(points)),
        step=None if own_steps else circle.END,
    )
    return solver, solver.values


def _angles(points: Array) -> Array:
    return np.arctan2(points[:, 1], points[:, 0])


def _distance(density: Array, angles: Array, weights: Array | float) -> float:
    """From the exact density at the end, in L1."""
    return float(np.sum(np.abs(density - circle.fourier_solution().density(angles)) * weights))
