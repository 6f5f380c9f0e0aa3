"""From a case to the solvers it describes."""

from __future__ import annotations

import math
from functools import partial

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Model, Rescaled
from meanformer.attention.laws import LAWS
from meanformer.attention.rescaled import LARGEST_EXPONENT
from meanformer.coupling import METRICS, sample_tokens, share_of
from meanformer.particles import TokenSolver, deal_out
from meanformer.simulation.builders.model import build_model, initial_measure
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError
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
    attention = build_model(case)
    step = None if case.time.step == "auto" else case.time.step

    state, scheme = State(comm, attention), None
    if case.pde is not None:
        from meanformer.simulation.builders.density import DgScheme  # DOLFINx is slow to import

        scheme = DgScheme(case, attention, step, comm)
        state.density = scheme.solver
    if case.particles is not None:
        if not case.in_layers:
            _check_growth(case, attention)
        solver = partial(
            TokenSolver,
            attention=attention,
            space=space_of(case.space),
            comm=comm,
            step=step,
            integrator=case.particles.integrator,
            tolerance=case.particles.tolerance,
            normalisation=case.particles.normalisation,
            rescaled=case.space.rescaled,
            temperature=case.noise.temperature,
            seed=case.particles.seed,
            prompt=case.prompt.load(case.space.kind) if case.prompt else None,
        )
        state.tokens = solver(initial_tokens(case, comm), systems=case.particles.systems)
    if case.compare is not None:
        assert state.density is not None and state.tokens is not None
        wanted = [METRICS[name] for name in METRICS if name in (case.compare.metrics or ())]
        systems = max(metric.systems for metric in wanted)
        if systems:
            state.ensemble = deal_out(
                state.tokens, systems, lambda points, system: solver(points, system=system)
            )
        state.metrics = [metric(state.density, state.tokens, state.ensemble) for metric in wanted]
    return state, scheme


def initial_tokens(case: Case, comm: MPI.Intracomm) -> Array:
    """This rank's share of the tokens of a case with ``[particles]`` at t = 0, ``shape=(n, d)``.

    Systems are those of as many draws, or each starts from the tokens given.
    """
    assert case.particles is not None
    number, systems = case.particles.number, case.particles.systems
    if isinstance(case.initial, Tokens):
        tokens, mine = case.initial.load(case.space.kind), share_of(number, comm, systems)
        return tokens[np.arange(mine.start, mine.stop) % number]
    measure = initial_measure(case.initial, case.space.dimension)
    return sample_tokens(measure, number, case.particles.seed, comm, systems)


def _check_growth(case: Case, model: Model) -> None:
    """Refuse runs of tokens that would leave double precision by their values alone.

    A drift may hold them back, or drive them on, and so may relative values: with these, the run
    itself must tell.

    Raises:
        CaseError: If e^{tV} does, or e^{-tV} where tokens are rescaled.
    """
    space, end = case.space, case.time.end
    attention = case.attention
    unknown = attention.random_values is not None or attention.relative or case.drift is not None
    if space.kind == "sphere" or unknown or not LAWS[attention.law].normalised:
        return
    layers, time, expansion, contraction = Rescaled(model, space.dimension), 0.0, 0.0, 0.0
    while time < end:
        layer, next_change = layers.during(time), layers.next_change(time)
        fastest = layer.rate_of_growth
        room = LARGEST_EXPONENT - expansion
        if space.rescaled and layer.rate_of_contraction > fastest:
            fastest, room = layer.rate_of_contraction, LARGEST_EXPONENT - contraction
        if fastest * (min(next_change, end) - time) > room:
            latest = _rounded_down(time + room / fastest)
            advice = "" if space.rescaled else "; late times are what space.rescaled is for"
            raise CaseError(
                [
                    f"time.end: {end!r} is not allowed: tokens grow beyond double precision by "
                    f"e^(tV) alone; must be at most {latest:g}{advice}"
                ]
            )
        length = min(next_change, end) - time
        expansion += layer.rate_of_growth * length
        contraction += layer.rate_of_contraction * length
        time = next_change


def _rounded_down(number: float) -> float:
    """A positive number to four digits."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 3)
    return math.floor(number / unit) * unit
