"""What a distance between the density and the tokens says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from meanformer.attention import Space
from meanformer.particles import TokenEnsemble
from meanformer.solvers import Density, Tokens


class Metric(ABC):
    """A distance between the density and the tokens of a run, with its sampling noise beside it.

    To make one is collective.

    Args:
        density: The density, at its start.
        tokens: The tokens, at their start.
        ensemble: Systems that the same tokens are dealt out to, at their start; None where no
            metric of the run reads its noise from them.

    Attributes:
        name: What case files call it.
        spaces: Where it exists, in words.
        only_on: The same as data: elsewhere, a case cannot ask for it. Empty: every space.
        cost: What a sample of it costs, in words.
        systems: How many systems the ensemble should have that it reads its noise from; 0: none.
        columns: What it adds to ``compare.csv``, with their meanings, in Markdown, as a row of the
            docs: its value, its sampling noise, and what else is worth knowing.
    """

    name: ClassVar[str]
    spaces: ClassVar[str]
    only_on: ClassVar[tuple[Space, ...]] = ()
    cost: ClassVar[str]
    systems: ClassVar[int] = 0
    columns: ClassVar[Mapping[str, str]]

    def __init__(
        self, density: Density, tokens: Tokens, ensemble: TokenEnsemble | None = None
    ) -> None:
        self._density, self._tokens = density, tokens

    @abstractmethod
    def measure(self) -> tuple[float, ...]:
        """The numbers of ``columns`` at the solvers' present time. Collective.

        Returns:
            As many as there are columns and in their order, the same on every rank; nan where one
            is not known. Distances between the same two measures are the same on any number of
            ranks, up to round-off.
        """
