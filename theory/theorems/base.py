"""What a theorem is: hypotheses, a predicted limit, and how far a run is from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from meanformer.theory.theorems.hypotheses import Hypothesis, given
from meanformer.theory.theorems.setting import End, Setting


@dataclass(frozen=True)
class Deviation:
    """How far the end of a run is from what a theorem predicts.

    Attributes:
        measured: In words, what the number is.
        number: Dimensionless.
        bound: Up to which the run agrees.
    """

    measured: str
    number: float
    bound: float

    @property
    def agrees(self) -> bool:
        """Whether the run agrees with the theorem."""
        return bool(self.number <= self.bound)


@dataclass(frozen=True)
class Prediction:
    """What a theorem says of one setting.

    Attributes:
        theorem: The theorem.
        setting: What it was asked of.
        hypotheses: Its conditions; where one on the kind of model fails, those on its numbers are
            not looked at.
    """

    theorem: Theorem
    setting: Setting
    hypotheses: tuple[Hypothesis, ...]

    @property
    def applies(self) -> bool:
        """Whether every hypothesis holds, by its margin."""
        return all(hypothesis.holds for hypothesis in self.hypotheses)

    @property
    def limit(self) -> str | None:
        """The predicted limit in words; None where the theorem does not apply."""
        return self.theorem.limit(self.setting) if self.applies else None

    def deviation(self, end: End) -> Deviation | None:
        """How far a run ends from the limit; None if a run of this kind does not show it.

        Raises:
            ValueError: If the theorem does not apply.
        """
        if not self.applies:
            raise ValueError(f"{self.theorem.name}: the theorem does not apply, it has no limit")
        return self.theorem.deviation(end)


class Theorem(ABC):
    """A theorem about late times.

    Attributes:
        name: One word or two.
        source: Where it is proved.
        spaces: Kinds of spaces that it is about.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    spaces: ClassVar[tuple[type, ...]]

    def ask(self, setting: Setting) -> Prediction:
        """What the theorem says of a setting in its space."""
        kind = tuple(self.of_the_model(setting))
        if all(hypothesis.holds for hypothesis in kind):
            kind += tuple(self.of_the_numbers(setting))
        return Prediction(self, setting, kind)

    @abstractmethod
    def of_the_model(self, setting: Setting) -> Sequence[Hypothesis]:
        """The hypotheses on law, heads, noise, and what is evolved."""

    @abstractmethod
    def of_the_numbers(self, setting: Setting) -> Sequence[Hypothesis]:
        """The hypotheses on matrices and start, for a model of the right kind."""

    @abstractmethod
    def limit(self, setting: Setting) -> str:
        """The predicted limit in words, where all hypotheses hold."""

    @abstractmethod
    def deviation(self, end: End) -> Deviation | None:
        """How far a run ends from the limit; None if a run of this kind does not show it."""


class TokenTheorem(Theorem):
    """A theorem about tokens under one head of attention, without noise.

    Attributes:
        laws: Those that it is about.
        causal: Whether it is about causal attention.
    """

    laws: ClassVar[tuple[str, ...]]
    causal: ClassVar[bool] = False

    def of_the_model(self, setting: Setting) -> Sequence[Hypothesis]:
        """Tokens, one of the laws, one head that does not change, and no noise."""
        return [
            given("tokens are evolved", setting.tokens is not None),
            *setting.model_is(*self.laws, causal=self.causal),
            setting.without_noise(),
        ]
