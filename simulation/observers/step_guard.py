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
        title: What runs, said in the warning.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._told: dict[str, str] = {}

    def stepped(self, state: State, name: str, start: float) -> None:
        """Compare the step with the automatic one of its solver, if that has one."""
        solver = state.measures.get(name)
        if solver is None or name in self._told:
            return
        step, safe = solver.time - start, solver.automatic_step
        if not 0 < _WORTH_A_WARNING * safe < step:  # 0 and nan come with values not finite
            return
        self._told[name] = (
            f"{name}: the step of {step:.3g} at t = {start:g} is {step / safe:.2g} times "
            f'the automatic one ({safe:.2g}): results may be far off; time.step = "auto" '
            "avoids that"
        )
        if state.comm.rank == 0:
            warn(self._title, self._told[name])

    def warnings(self) -> list[str]:
        """What it told."""
        return list(self._told.values())
