"""From a case to the solvers it describes."""

from __future__ import annotations

from mpi4py import MPI

from meanformer.attention import Attention, Sphere
from meanformer.attention import measures as m
from meanformer.coupling import TokenReplicas, sample_tokens, share_of
from meanformer.meshes import icosphere
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver
from meanformer.simulation import case as c
from meanformer.simulation.state import State


def build(case: c.Case, comm: MPI.Intracomm) -> State:
    """Make mesh, initial measure and solvers. Collective over ``comm``."""
    table = case.attention
    query, key, value = (
        c.as_matrix(matrix, case.space.dimension)
        for matrix in (table.query, table.key, table.value)
    )
    attention = Attention(table.law, table.beta, query, key, value)
    space = Sphere(case.space.dimension)
    step = None if case.time.step == "auto" else case.time.step

    state = State(comm, attention)
    if case.pde is not None:
        degree = case.pde.degree
        mesh = icosphere(comm, case.pde.refinement, geometry_degree=max(2, degree))
        density = initial_measure(case.initial).density
        state.density = DensitySolver(mesh, attention, degree, density, step)
    if case.particles is not None:
        number, seed = case.particles.number, case.particles.seed
        if isinstance(case.initial, c.Tokens):
            points = case.initial.load()[share_of(number, comm)]
        else:
            points = sample_tokens(initial_measure(case.initial), number, seed, comm)
        state.tokens = TokenSolver(points, attention, space, comm, step)
    if state.tokens and case.compare is not None and "harmonic" in case.compare.metrics:
        state.replicas = TokenReplicas(state.tokens, attention, step)
    return state


def initial_measure(table: c.Initial) -> m.Measure:
    """The measure that a table ``[initial]`` with a density describes."""
    match table:
        case c.VonMisesFisher():
            return m.VonMisesFisher(table.mean, table.concentration)
        case c.PoissonKernel():
            return m.PoissonKernel(table.a)
        case c.Harmonic():
            return m.ZonalHarmonic(table.degree, table.amplitude, table.axis)
        case c.Mixture():
            parts = tuple(initial_measure(part) for part in table.components)
            return m.Mixture(parts, tuple(part.weight for part in table.components))
        case c.Uniform():
            return m.Uniform()
    raise TypeError(f"{type(table).__name__} has no density")
