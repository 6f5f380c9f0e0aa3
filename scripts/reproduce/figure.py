"""What a figure of a paper is: its case, what a theorem says of it, and its panels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from meanformer.scripts.reproduce.recording import Recording
from meanformer.simulation import Case
from meanformer.theory import Deviation

# A movie has at most so many, and the first.
_FRAMES = 75


@dataclass(frozen=True, kw_only=True)
class Figure(ABC):
    """Tokens of a box in R^d under attention at beta = 1, and what is drawn of them.

    Attributes:
        title: A line for people.
        number: n, how many tokens there are.
        dimension: d.
        end: The final time, dimensionless.
        sample_every: Time between samples.
        shown: The times of the picture's panels.
        seed: Of the tokens and of random matrices, unless another is asked for.
        half_width: Tokens start in [-h, h]^d.
        tolerance: That of a step; see ``TokenSolver``.
    """

    #: What the paper proves or says.
    claim: ClassVar[str]
    #: Whether positions are z = e^{-tV} x.
    rescaled: ClassVar[bool] = True
    #: Whether it is one of the attention matrix.
    has_matrix: ClassVar[bool] = False
    #: Whether ``draw_history`` draws something.
    has_history: ClassVar[bool] = False

    title: str
    number: int
    dimension: int
    end: float
    sample_every: float
    shown: Sequence[float]
    seed: int = 1
    half_width: float = 5.0
    tolerance: float = 1e-6

    @property
    def is_solid(self) -> bool:
        """Whether panels are of three dimensions."""
        return False

    @abstractmethod
    def matrices(self, seed: int) -> dict[str, Any]:
        """The keys of ``[attention]`` that are not as by default: softmax and identities."""

    @abstractmethod
    def checks(self, recording: Recording) -> list[Deviation]:
        """What was measured, and what the theorem allows."""

    @abstractmethod
    def draw(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw a sample into axes of matplotlib."""

    def draw_history(self, axes: Any, recording: Recording, sample: int) -> None:
        """Draw what changes with time, and mark the sample."""

    def frames(self, recording: Recording) -> list[int]:
        """The samples that make the movie, the last one among them."""
        last = len(recording.times) - 1
        return list(range(last, -1, -(last // _FRAMES + 1)))[::-1]

    def case(self, name: str, seed: int) -> Case:
        """The run that the figure is drawn from.

        Raises:
            CaseError: If the seed is negative.
        """
        return Case.from_dict(self.tables(name, seed))

    def tables(self, name: str, seed: int) -> dict[str, Any]:
        """The tables of the case."""
        corner = [self.half_width] * self.dimension
        space = {"kind": "euclidean", "dimension": self.dimension, "rescaled": self.rescaled}
        return {
            "title": self.title,
            "space": space,
            "attention": {"beta": 1.0, **self.matrices(seed)},
            "initial": {"kind": "box", "lower": [-c for c in corner], "upper": corner},
            "particles": {"number": self.number, "seed": seed, "tolerance": self.tolerance},
            "time": {"end": self.end, "sample_every": self.sample_every},
            "output": {"directory": f"figures/{name}", "fields": ["none"]},
        }


def ratio(part: float, whole: float) -> float:
    """One length over another, 0 if both are."""
    return part / whole if whole else math.inf * part if part else 0.0
