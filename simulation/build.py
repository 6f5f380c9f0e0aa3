"""From a case to the solvers it describes."""

from __future__ import annotations

from mpi4py import MPI

from meanformer.attention import Sphere
from meanformer.attention import measures as m
from meanformer.coupling import TokenReplicas, calibrate, sample_tokens, share_of
from meanformer.meshes import icosphere
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver, InitialDensityError
from meanformer.simulation import case as c
from meanformer.simulation.build_model import build_model
from meanformer.simulation.state import State

_LARGEST_MASS_ERROR = 0.02


def build(case: c.Case, comm: MPI.Intracomm) -> State:
    """Make mesh, initial measure and solvers. Collective over ``comm``.

    Raises:
        CaseError: On every rank, if the mesh does not resolve the initial density.
    """
    attention = build_model(case.attention, case.space.dimension, case.time.end)
    space = Sphere(case.space.dimension)
    step = None if case.time.step == "auto" else case.time.step

    state = State(comm, attention)
    if case.pde is not None:
        degree = case.pde.degree
        mesh = icosphere(comm, case.pde.refinement, geometry_degree=max(2, degree))
        density = initial_measure(case.initial).density
        try:
            state.density = DensitySolver(mesh, attention, degree, density, step)
        except InitialDensityError as error:
            raise _unresolved(case.pde, str(error)) from None
        if abs(state.density.initial_mass - 1) > _LARGEST_MASS_ERROR:
            mass = state.density.initial_mass
            raise _unresolved(case.pde, f"its mass on the mesh is {mass:.4g}, not 1")
    if case.particles is not None:
        number, seed = case.particles.number, case.particles.seed
        if isinstance(case.initial, c.Tokens):
            points = case.initial.load()[share_of(number, comm)]
        else:
            points = sample_tokens(initial_measure(case.initial), number, seed, comm)
        state.tokens = TokenSolver(points, attention, space, comm, step)
    if case.compare is not None and "harmonic" in case.compare.metrics:
        assert state.density is not None and state.tokens is not None
        # They pass the model on to their solvers, which take any.
        state.replicas = TokenReplicas(state.tokens, attention, step)
        calibrate(state.replicas, state.density)
    return state


def _unresolved(table: c.PdeTable, why: str) -> c.CaseError:
    return c.CaseError(
        [
            f"initial: the mesh of pde.refinement = {table.refinement} does not resolve it: {why}; "
            "must be smoother, or pde.refinement larger"
        ]
    )


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
