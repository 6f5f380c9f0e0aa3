"""From a case to the solvers it describes."""

from __future__ import annotations

from mpi4py import MPI

from meanformer.attention import Euclidean, Model, Sphere
from meanformer.coupling import TokenReplicas, calibrate, sample_tokens, share_of
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver, InitialDensityError, PetscOptionError
from meanformer.simulation import case as c
from meanformer.simulation.build_initial import initial_measure
from meanformer.simulation.build_mesh import build_mesh
from meanformer.simulation.build_model import build_model
from meanformer.simulation.state import State

_LARGEST_MASS_ERROR = 0.02


def build(case: c.Case, comm: MPI.Intracomm) -> State:
    """Make mesh, initial measure and solvers. Collective over ``comm``.

    Raises:
        CaseError: On every rank, if the mesh does not resolve the initial density.
    """
    attention = build_model(case.attention, case.space.dimension, case.time.end)
    dimension = case.space.dimension
    space = Sphere(dimension) if case.space.kind == "sphere" else Euclidean(dimension)
    step = None if case.time.step == "auto" else case.time.step

    state = State(comm, attention)
    if case.pde is not None:
        state.density = _density(case, case.pde, attention, step, comm)
    if case.particles is not None:
        number, seed = case.particles.number, case.particles.seed
        if isinstance(case.initial, c.Tokens):
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


def _density(
    case: c.Case, pde: c.PdeTable, attention: Model, step: float | None, comm: MPI.Intracomm
) -> DensitySolver:
    measure = initial_measure(case.initial, case.space.dimension)
    try:
        solver = DensitySolver(
            build_mesh(pde, case.space, comm),
            attention,
            pde.degree,
            measure.density,
            step,
            temperature=case.noise.temperature,
            boundary=pde.boundary or "outflow",
        )
    except InitialDensityError as error:
        raise _unresolved(pde, str(error)) from None
    except PetscOptionError as error:
        raise c.CaseError([f"--petsc: {error}"], "command line") from None
    if abs(solver.initial_mass - 1) > _LARGEST_MASS_ERROR:
        mass = solver.initial_mass
        solver.close()
        raise _unresolved(pde, f"its mass on the mesh is {mass:.4g}, not 1", mass < 1)
    return solver


def _unresolved(table: c.PdeTable, why: str, outside: bool = False) -> c.CaseError:
    """What to do about a start that is not on the mesh; ``outside``: some of it may be beyond."""
    if table.mesh is not None:
        mesh, need = f"pde.mesh = {table.mesh!r}", "the mesh finer"
        need += " or larger" if outside else ""
    elif table.half_width is not None:
        mesh = f"pde.refinement = {table.refinement}, pde.half_width = {table.half_width:g}"
        need = "pde.refinement larger, or pde.half_width "
        need += "(if it does not hold the mass) larger" if outside else "smaller"
    else:
        mesh, need = f"pde.refinement = {table.refinement}", "pde.refinement larger"
    return c.CaseError(
        [f"initial: the mesh of {mesh} does not resolve it: {why}; must be smoother, or {need}"]
    )
