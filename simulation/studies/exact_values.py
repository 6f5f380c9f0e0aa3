"""The exact solution of a case, and what its tables would hold of it."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.attention import Attention, Sphere
from meanformer.attention.exact import exact_solution
from meanformer.attention.measures import Measure, uniforms_per_sample
from meanformer.attention.measures.measure import Spread
from meanformer.simulation.builders.model import build_model, initial_measure
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.case.tokens import Tokens
from meanformer.simulation.observers.columns import Measures
from meanformer.simulation.observers.diagnostics import harmonics, moments

# Numbers of heights and of turns, by dimension. Poisson kernels have their moments to 1e-12 up to
# |a| = 0.95, to 1e-5 up to 0.99.
_RULES = {2: (1, 2**12), 3: (384, 512)}


def exact_end(case: Case) -> Measure | None:
    """The exact solution of a case at its end, where one is known: a model constant in time.

    None is beside a prompt, for causal attention, or for layers whose normalisation turns tokens at
    another speed than attention's.
    On spheres, where columns of it are known, too: on S^1 and S^2.

    Raises:
        CaseError: If it blows up before.
    """
    model = build_model(case)
    if isinstance(case.initial, Tokens) or not isinstance(model, Attention) or case.prompt:
        return None
    if case.particles is not None and case.particles.normalisation not in (None, "post"):
        return None
    start = initial_measure(case.initial, case.space.dimension)
    if isinstance(start.space, Sphere) and start.space.dimension not in _RULES:
        return None
    try:
        return exact_solution(model, start, case.time.end, case.noise.temperature)
    except ArithmeticError as error:
        raise CaseError([f"time.end: {error}; must be smaller"]) from None


def exact_columns(measure: Measure) -> dict[str, float]:
    """Those columns of ``pde.csv`` that are known for a measure: moments, and harmonics."""
    if isinstance(measure.space, Sphere):
        points = _represent(measure)
        found = moments(points) | harmonics(points)
        return {name: float(np.squeeze(value)) for name, value in found.items()}
    assert isinstance(measure, Spread)
    mean, covariance = measure.moments()
    d = len(mean)
    columns = {f"mean_{i + 1}": mean[i] for i in range(d)}
    columns |= {f"cov_{i + 1}{j + 1}": covariance[i, j] for i in range(d) for j in range(i, d)}
    return {name: float(value) for name, value in columns.items()}


def _represent(measure: Measure) -> Measures:
    """Weighted points that integrate smooth functions like a measure on a sphere.

    The map that samples it from uniform numbers takes a rule for these to one for the measure.
    """
    heights, turns = _RULES[measure.space.dimension]
    nodes, weights = np.polynomial.legendre.leggauss(heights)
    uniforms = np.zeros((heights, turns, uniforms_per_sample(measure.space)))
    uniforms[:, :, 1] = (nodes[:, None] + 1) / 2  # of use on the sphere
    uniforms[:, :, -1] = (np.arange(turns) + 0.5) / turns  # periodic: equal weights
    points = measure.sample(uniforms.reshape(heights * turns, -1))
    shares = np.repeat(weights / 2 / turns, turns)
    return Measures(points[None], shares[None], measure.space, MPI.COMM_SELF)
