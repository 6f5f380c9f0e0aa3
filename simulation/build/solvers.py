"""From a case to the solvers it describes."""

from __future__ import annotations

from meanformer.mpi import MPI

from meanformer.attention import Euclidean, Sphere
from meanformer.coupling import TokenReplicas, calibrate, sample_tokens, share_of
from meanformer.particles import TokenSolver
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.tokens import Tokens
from meanformer.simulation.build.initial import initial_measure
from meanformer.simulation.build.model import build_model
from meanformer.simulation.state import State


def build(case: Case, comm: MPI.Intracomm) -> State:
    """Make mesh, initial measure and solvers. Collective over ``comm``.

    Raises:
        CaseError: On every rank, if the mesh cannot be used, or does not resolve the
            initial density.
    """
    attention = build_model(case.attention, case.space.dimension, case.time.end)
    dimension = case.space.dimension
    space = Sphere(dimension) if case.space.kind == "sphere" else Euclidean(dimension)
    step = None if case.time.step == "auto" else case.time.step

    state = State(comm, attention)
    if case.pde is not None:
        from meanformer.simulation.build.density import build_density  # DOLFINx is slow to import

        state.density, state.advice = build_density(case, case.pde, attention, step, comm)
    if case.particles is not None:
        number, seed = case.particles.number, case.particles.seed
        if isinstance(case.initial, Tokens):
            points = case.initial.load(case.space.kind)[share_of(number, comm)]
        else:
            points = sample_tokens(initial_measure(case.initial, dimension), number, seed, comm)
        state.tokens = TokenSolver(points, attention, space, comm, step)
    if case.compare is not None and "harmonic" in (case.compare.metrics or ()):
        assert state.density is not None and state.tokens is not None
        # They pass the model on to their solvers, which take any.
        state.replicas = TokenReplicas(state.tokens, attention, step)
        calibrate(state.replicas, state.density)
    return state
