"""Check whether steps are far longer than the dynamics allow."""

from __future__ import annotations

from meanformer.simulation.controller import Observer
from meanformer.simulation.state import State
from meanformer.simulation.warn import warn

# Steps this much longer than the automatic one may be unstable, or far off.
_WORTH_A_WARNING = 2.0


class StepGuard(Observer):
    """After every step: it was not far longer than the automatic one, which ``time.step`` allows.

    It warns once of each solver, on rank 0's standard error, and again at the end.

    Args:
        state: The solvers before their first step.
        title: What runs, said in the warning.
    """

    def __init__(self, state: State, title: str) -> None:
        """Note where the solvers start."""
        solvers = {"density": state.density, "tokens": state.tokens}
        self._watched = {name: solver for name, solver in solvers.items() if solver is not None}
        self._reached = {name: solver.time for name, solver in self._watched.items()}
        self._title = title
        self._told: list[str] = []

    def stepped(self, state: State) -> None:
        """Compare the last step of the solver that took one."""
        for name, solver in list(self._watched.items()):
            start, safe = self._reached[name], solver.automatic_step
            self._reached[name], step = solver.time, solver.time - start
            if not 0 < _WORTH_A_WARNING * safe < step:  # 0 and nan come with values not finite
                continue
            del self._watched[name]
            self._told.append(
                f"{name}: the step of {step:.3g} at t = {start:g} is {step / safe:.2g} times "
                f'the automatic one ({safe:.2g}): results may be far off; time.step = "auto" '
                "avoids that"
            )
            if state.comm.rank == 0:
                warn(self._title, self._told[-1])

    def warnings(self) -> list[str]:
        """What it told."""
        return self._told
