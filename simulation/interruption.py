"""Stopping a run on a signal, between two steps, on all ranks together."""

from __future__ import annotations

import signal
import threading
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, Self

from meanformer.mpi import MPI

from meanformer.simulation.controller import Observer, RunInterrupted
from meanformer.simulation.state import State

# mpirun forwards SIGUSR1 and lets the ranks end by themselves. At SIGTERM it kills them: that of
# Open MPI 5 a quarter of a second after it has told them.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
_SECONDS_BEFORE_INSISTING = 1.0


class Interruption(Observer):
    """Stop the run after the step in which a signal reaches any rank.

    The signals are SIGTERM, SIGINT (Ctrl-C), SIGUSR1 and SIGHUP (the terminal is gone).

    It is a context manager: outside of it signals mean what they did before. Ctrl-C a second time,
    a second or more later, does not wait for the end of a step. Signals reach Python's main thread
    only; in other threads nothing is watched.

    Args:
        watch: Whether to do so; the same on every rank.
    """

    def __init__(self, watch: bool = True) -> None:
        """No signal yet."""
        self._watch = watch
        self._received = 0
        self._since = 0.0
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Watch for signals."""
        if self._watch and threading.current_thread() is threading.main_thread():
            # nohup has SIGHUP ignored, so that a run outlives its terminal.
            ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            watched = [each for each in _SIGNALS if not (ignored and each == signal.SIGHUP)]
            self._former = {number: signal.signal(number, self._note) for number in watched}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give signals back their former meaning."""
        for number, handler in self._former.items():
            # None: a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def stepped(self, state: State) -> None:
        """Ask all ranks.

        Raises:
            RunInterrupted: On every rank, if one of them got a signal.
        """
        if not self._watch:
            return
        received = state.comm.allreduce(self._received, op=MPI.MAX)
        if received:
            raise RunInterrupted(f"{signal.Signals(received).name} received")

    def _note(self, number: int, frame: FrameType | None) -> None:
        insisting = self._received and monotonic() - self._since > _SECONDS_BEFORE_INSISTING
        if insisting and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._received:
            self._received, self._since = number, monotonic()
