"""How far the run is and how long it will take, on rank 0's terminal."""

from __future__ import annotations

import sys
from contextlib import suppress
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from meanformer.simulation.controller import Observer
from meanformer.simulation.state import State

_SECONDS_BETWEEN_LINES = 30.0


class TerminalProgress(Observer):
    """A bar with the time left; lines where stderr is no terminal (under mpirun, in a log)."""

    def __init__(self, title: str, end: float) -> None:
        self._title, self._end = title, end
        self._start: tuple[float, float] | None = None
        self._last_line = monotonic()
        self._bar: Progress | None = None

    def sample(self, state: State) -> None:
        """Show where the run is."""
        self._show(state)

    def stepped(self, state: State, name: str, start: float) -> None:
        """Show where the run is."""
        self._show(state)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            with suppress(OSError):  # after SIGHUP there is no terminal
                self._bar.stop()

    def _show(self, state: State) -> None:
        if state.comm.rank != 0:
            return
        # Solvers take turns between two samples: their mean moves steadily.
        times = [solver.time for solver in state.solvers.values()]
        time = sum(times) / len(times)
        now = monotonic()
        if self._start is None:
            self._start = now, time
            if sys.stderr.isatty():
                self._bar = _bar()
                self._bar.add_task(self._title, total=self._end)
                self._bar.start()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=time)
        elif now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            (began, start), line = self._start, f"{self._title}: t = {time:.3g} of {self._end:g}"
            if time > start:
                left = (now - began) * (self._end - time) / (time - start)
                line += f", {left:.0f} s left"
            with suppress(OSError):  # after SIGHUP there is no terminal
                print(line, file=sys.stderr, flush=True)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("t = {task.completed:.3g} of {task.total:g}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
