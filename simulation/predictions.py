"""What theorems say of a case, and how far a run of it ends from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.simulation.builders.model import build_model, initial_measure
from meanformer.simulation.builders.solvers import initial_tokens
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.space import space_of
from meanformer.simulation.case.tokens import Tokens
from meanformer.simulation.runner import Result, run
from meanformer.solvers import Tokens as TokenState
from meanformer.theory import Deviation, Prediction, predictions
from meanformer.theory.theorems.setting import End, Setting


@dataclass(frozen=True)
class Verification:
    """A run beside what theorems say of its end.

    Attributes:
        result: The run.
        deviations: How far it ends from the limit of each prediction asked for; None for one
            that such a run does not show.
    """

    result: Result
    deviations: Sequence[Deviation | None]

    @property
    def agrees(self) -> bool:
        """Whether the run reached its end, and agrees with all that it shows."""
        shown = [deviation for deviation in self.deviations if deviation is not None]
        return self.result.status == "done" and all(deviation.agrees for deviation in shown)


def of_one_system(case: Case) -> Case:
    """The case of system 0 alone, as it is among others: predictions are of each system."""
    if case.particles is None or case.particles.systems == 1:
        return case
    particles = case.particles.model_copy(update={"systems": 1})
    return case.model_copy(update={"particles": particles})


def setting_of(case: Case) -> Setting:
    """What theorems look at in a case: the model and its start, with all tokens on every rank.

    Of several systems, it is that of system 0.
    """
    case = of_one_system(case)
    dimension = case.space.dimension
    listed = isinstance(case.initial, Tokens)
    return Setting(
        model=build_model(case),
        space=space_of(case.space),
        temperature=case.noise.temperature,
        tokens=initial_tokens(case, MPI.COMM_SELF) if case.particles is not None else None,
        measure=None if listed else initial_measure(case.initial, dimension),
        has_density=case.pde is not None,
        has_prompt=case.prompt is not None,
        in_layers=case.in_layers,
    )


def predict(case: Case) -> list[Prediction]:
    """What each theorem about the case's space says of it.

    Returns:
        Those that apply have a ``limit``; of the others the hypotheses say why not.
    """
    return predictions(setting_of(case))


def verify(
    case: Case,
    asked: Sequence[Prediction],
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    progress: bool = False,
) -> Verification:
    """Run a case, and measure how far it ends from what predictions of it say. Collective.

    Args:
        case: What to run, of several systems the first. Nothing is written.
        asked: Predictions that apply to it.
        comm: The ranks that share the work.
        progress: Show progress on rank 0's terminal.

    Raises:
        ValueError: If one of the predictions does not apply.
        CaseError: See ``run``.
    """
    case = of_one_system(case)
    result = run(case, None, comm, progress)
    end = end_of(case, result, asked[0].setting if asked else setting_of(case))
    return Verification(result, [each.deviation(end) for each in asked])


def end_of(case: Case, result: Result, setting: Setting) -> End:
    """What a run leaves, with all tokens on every rank. Collective."""
    tokens = result.state.tokens
    return End(
        setting,
        time=result.state.time,
        points=None if tokens is None else np.concatenate(tokens.comm.allgather(tokens.points)),
        rescaled=case.space.rescaled,
        matrix=None if tokens is None else partial(_matrix, tokens),
        tables=result.tables,
    )


def _matrix(tokens: TokenState) -> Array:
    """The attention matrix of all tokens, ``shape=(h, n, n)``; without a prompt. Collective."""
    return np.concatenate(tokens.comm.allgather(tokens.attention_matrix()), axis=1)
