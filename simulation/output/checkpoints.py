"""When a run writes checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

from meanformer.simulation.controller import Observer
from meanformer.simulation.output.checkpoint import take, write
from meanformer.simulation.output.resume import Start
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State

_SECONDS_BETWEEN = 120.0


class Checkpoints(Observer):
    """Write checkpoints: among a run's observers, after those that write its files.

    One at the first sample at or after each multiple of ``every``, one at the end, one when the
    run is interrupted, and one after the first step that ends two minutes or more after the last.
    One that cannot be written is an ``OSError`` on rank 0; the former slot stays.

    Args:
        folder: The run's folder.
        every: Time between checkpoints; None: only those by the clock, at the end and when the
            run is interrupted; 0: without those by the clock.
        end: The final time.
        tables: Tables that a resumed run reads again.
        start: Where the run starts.
    """

    def __init__(
        self,
        folder: Path,
        every: float | None,
        end: float,
        tables: Iterable[Table],
        start: Start,
    ) -> None:
        self._folder, self._every, self._end, self._tables = folder, every, end, tuple(tables)
        self._samples, self._sampled = start.samples, start.sampled
        self._multiple = self._multiples(start.sampled)
        self._written = monotonic()

    def sample(self, state: State) -> None:
        """Count the sample, and write a checkpoint if one is due."""
        self._samples, self._sampled = self._samples + 1, state.time
        multiple = self._multiples(state.time)
        if multiple > self._multiple or state.time >= self._end:
            self._write(state)
        self._multiple = multiple

    def wish(self, state: State) -> int:
        """Whether the last checkpoint is old, by the clock of rank 0."""
        by_clock = self._every != 0 and state.comm.rank == 0
        return int(by_clock and monotonic() - self._written >= _SECONDS_BETWEEN)

    def agreed(self, state: State, wish: int) -> None:
        """Write a checkpoint between samples."""
        self._write(state)

    def interrupted(self, state: State) -> None:
        """Write a checkpoint between samples."""
        self._write(state)

    def _write(self, state: State) -> None:
        checkpoint = take(state, self._samples, self._sampled)
        if checkpoint is None:
            return
        try:
            for table in self._tables:
                table.flush()
            write(self._folder, checkpoint)
        except OSError as error:
            error.add_note(f"no checkpoint at t = {checkpoint.time:g}; former ones are kept")
            raise
        self._written = monotonic()

    def _multiples(self, time: float) -> float:
        """Multiples of ``every`` up to a time."""
        return math.floor(time / self._every + 1e-9) if self._every and time >= 0 else -1
