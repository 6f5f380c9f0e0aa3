"""What a figure is drawn from: the tokens of a run, and their attention matrix, at its samples."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.folder import replace_file
from meanformer.simulation.state import State


@dataclass(frozen=True, eq=False)
class Recording:
    """The tokens of a run over its samples; times and positions are dimensionless.

    Attributes:
        times: Increasing, ``shape=(s,)``.
        positions: Of each token in one order, x or z as the case says, ``shape=(s, n, d)``.
        matrices: P at each sample, ``shape=(s, n, n)``, or ``(s, 0, 0)`` if nobody asked for it.
    """

    times: Array
    positions: Array
    matrices: Array

    @property
    def last(self) -> Array:
        """The tokens at the end, ``shape=(n, d)``."""
        return self.positions[-1]

    def sample_at(self, time: float) -> int:
        """The number of the sample nearest to a time."""
        return int(np.abs(self.times - time).argmin())

    def save(self, file: Path) -> None:
        """Write the arrays by their names into an archive (.npz).

        Raises:
            OSError: If it cannot be written.
        """
        content = io.BytesIO()
        np.savez_compressed(
            content,
            times=self.times,
            positions=self.positions,
            matrices=self.matrices,
        )
        replace_file(file, content.getvalue())


class Recorder(Observer):
    """Keep tokens, and the attention matrix if asked for, at each sample on rank 0."""

    def __init__(self, with_matrix: bool) -> None:
        self._with_matrix = with_matrix
        self._samples: list[tuple[float, Array, Array]] = []

    def sample(self, state: State) -> None:
        """Take the present tokens."""
        tokens = state.tokens
        assert tokens is not None
        rows = tokens.attention_matrix()[0] if self._with_matrix else np.empty((0, 0))
        positions, matrix = (_on_root(each, state.comm) for each in (tokens.points, rows))
        if positions is not None and matrix is not None:
            self._samples.append((tokens.time, positions, matrix))

    def recording(self) -> Recording:
        """All samples; on rank 0 alone."""
        times, positions, matrices = zip(*self._samples, strict=True)
        return Recording(np.array(times), np.stack(positions), np.stack(matrices))


def _on_root(rows: Array, comm: MPI.Intracomm) -> Array | None:
    """The rows of all ranks in their order, which is that of the tokens, on rank 0."""
    shares = comm.gather(rows)
    return None if shares is None else np.concatenate(shares)
