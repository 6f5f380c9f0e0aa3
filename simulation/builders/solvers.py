"""From a case to the solvers it describes."""

from __future__ import annotations

from meanformer.mpi import MPI

from meanformer.coupling import METRICS, sample_tokens, share_of
from meanformer.particles import TokenSolver, deal_out
from meanformer.simulation.builders.model import build_model, initial_measure
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.space import space_of
from meanformer.simulation.case.tokens import Tokens
from meanformer.simulation.scheme import Scheme
from meanformer.simulation.state import State


def build(case: Case, comm: MPI.Intracomm) -> tuple[State, Scheme | None]:
    """Make mesh, initial measure and solvers. Collective over ``comm``.

    Returns:
        The solvers, and what the scheme of the density offers beside it; None without a density.

    Raises:
        CaseError: On every rank, if the mesh cannot be used, or does not resolve the
            initial density.
    """
    attention = build_model(case.attention, case.space.dimension, case.time.end)
    dimension = case.space.dimension
    step = None if case.time.step == "auto" else case.time.step

    state, scheme = State(comm, attention), None
    if case.pde is not None:
        from meanformer.simulation.builders.density import DgScheme  # DOLFINx is slow to import

        scheme = DgScheme(case, attention, step, comm)
        state.density = scheme.solver
    if case.particles is not None:
        number, seed = case.particles.number, case.particles.seed
        if isinstance(case.initial, Tokens):
            points = case.initial.load(case.space.kind)[share_of(number, comm)]
        else:
            points = sample_tokens(initial_measure(case.initial, dimension), number, seed, comm)
        state.tokens = TokenSolver(points, attention, space_of(case.space), comm, step)
    if case.compare is not None:
        assert state.density is not None and state.tokens is not None
        wanted = [METRICS[name] for name in METRICS if name in (case.compare.metrics or ())]
        systems = max(metric.systems for metric in wanted)
        if systems:
            state.ensemble = deal_out(state.tokens, systems, attention, step)
        state.metrics = [metric(state.density, state.tokens, state.ensemble) for metric in wanted]
    return state, scheme
