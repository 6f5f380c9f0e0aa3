"""Stopping a run on a signal, between two steps, on all ranks together."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any, Self

from meanformer.simulation.controller import Observer, RunInterrupted
from meanformer.simulation.state import State

# Of those that ranks have got, the last of these is what the user sent: mpirun itself makes
# others SIGTERM. It forwards SIGUSR1 and lets the ranks end by themselves; when it ends them, that
# of Open MPI 5 kills them a quarter of a second after their SIGTERM.
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)
_SECONDS_BEFORE_INSISTING = 1.0
_STDERR = 2
_WORD = (
    " received: the run ends after the present step, with a checkpoint; "
    "Ctrl-C once more ends it at once, without"
)


class Interruption(Observer):
    """Stop the run after the step in which a signal reaches any rank.

    The signals are SIGTERM, SIGINT (Ctrl-C), SIGUSR1 and SIGHUP (the terminal is gone).

    It is a context manager: outside of it signals mean what they did before. Ctrl-C a second time,
    a second or more later, does not wait for the end of a step. Signals reach Python's main thread
    only; in other threads nothing is watched.

    Args:
        watch: Whether to do so; the same on every rank.
        tell: Whether to say at once, on standard error, that a signal has come to this rank.
    """

    def __init__(self, watch: bool = True, tell: bool = False) -> None:
        self._watch, self._tell = watch, tell
        self._received = 0  # a place in _SIGNALS, counted from one
        self._since = 0.0
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Watch for signals."""
        if self._watch and threading.current_thread() is threading.main_thread():
            # nohup has SIGHUP ignored, so that a run outlives its terminal, and a shell's script
            # SIGINT for what it puts in the background.
            watched = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
            self._former = {number: signal.signal(number, self._note) for number in watched}
        return self

    def __exit__(self, *error: object) -> None:
        """Give signals back their former meaning."""
        for number, handler in self._former.items():
            # None: a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def wish(self, state: State) -> int:
        """The end of the run, if a signal has come to this rank: which one."""
        return self._received

    def agreed(self, state: State, wish: int) -> None:
        """Interrupt the run on every rank: one of them got a signal."""
        raise RunInterrupted(f"{_SIGNALS[wish - 1].name} received")

    def _note(self, number: int, frame: FrameType | None) -> None:
        first = self._received == 0
        if first:
            self._since = monotonic()
        elif number == signal.SIGINT and monotonic() - self._since > _SECONDS_BEFORE_INSISTING:
            raise KeyboardInterrupt
        self._received = max(self._received, 1 + _SIGNALS.index(number))
        if first and self._tell:
            # Not by print: the signal may have come in the middle of one. A bar may be on the line,
            # and after SIGHUP there is no terminal.
            with suppress(OSError):
                os.write(_STDERR, f"\n{_SIGNALS[self._received - 1].name}{_WORD}\n".encode())
