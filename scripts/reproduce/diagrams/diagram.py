"""What a diagram is: runs of ensembles, a share of pairs that is counted in each, and a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.simulation import Case
from meanformer.simulation.controller import Observer
from meanformer.simulation.state import State
from meanformer.theory import Deviation

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Sheet

#: Which of the products <x_i, x_j> of pairs count, of their shape.
Counts = Callable[[Array], npt.NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Diagram(ABC):
    """Shares of pairs of tokens of one system, over runs that differ in their parameters.

    Attributes:
        title: A line for people.
        seed: Of the tokens and of random matrices, unless another is asked for.
    """

    #: What the paper proves or says.
    claim: ClassVar[str]

    title: str
    seed: int = 1

    @abstractmethod
    def cases(self, name: str, seed: int) -> Sequence[Case]:
        """The runs, all with the same sample times.

        Raises:
            CaseError: If the seed is negative.
        """

    @abstractmethod
    def counts(self, products: Array) -> npt.NDArray[np.bool_]:
        """Which products <x_i, x_j> are of pairs that count."""

    @abstractmethod
    def checks(self, times: Array, shares: Array) -> list[Deviation]:
        """What was measured, and what theory allows.

        Args:
            times: Of the samples, ``shape=(s,)``.
            shares: Of pairs that count, in each run at each sample, ``shape=(runs, s)``.
        """

    @abstractmethod
    def draw(self, times: Array, shares: Array) -> Sheet:
        """The picture; arguments as of ``checks``."""


class PairShares(Observer):
    """The mean over systems of the share of their pairs that count, at each sample.

    Args:
        counts: Which products <x_i, x_j> do.

    Attributes:
        times: Of the samples.
        shares: The same on every rank.
    """

    def __init__(self, counts: Counts) -> None:
        self.times: list[float] = []
        self.shares: list[float] = []
        self._counts = counts

    def sample(self, state: State) -> None:
        """Count the pairs of all systems."""
        assert state.tokens is not None
        systems = state.tokens.systems
        points = systems.apart(state.tokens.points)
        pairs = np.triu_indices(systems.number, 1)
        products = (points @ points.swapaxes(1, 2))[:, *pairs]
        found = state.comm.allreduce(int(np.count_nonzero(self._counts(products))))
        self.times.append(state.time)
        self.shares.append(found / (systems.count * len(pairs[0])))
