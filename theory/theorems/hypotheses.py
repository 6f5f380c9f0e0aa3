"""Hypotheses of theorems: each with its number, and by how much it holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: What holds by less than this share is not called: runs cannot tell it from what fails.
MARGIN = 0.05
#: What should be equal is, up to this share.
EQUAL = 1e-9


@dataclass(frozen=True)
class Hypothesis:
    """One condition of a theorem.

    Attributes:
        statement: The condition in words.
        number: What it is about, dimensionless; None for one that holds or does not.
        margin: By how much it holds, relative to what the numbers are made of; negative where it
            fails.
        least: The margin that is asked for.
    """

    statement: str
    number: float | None
    margin: float
    least: float

    @property
    def holds(self) -> bool:
        """Whether it holds by the margin that is asked for."""
        return self.margin >= self.least

    @property
    def verdict(self) -> str:
        """In words: "holds", "fails", or "too close" where it holds by too little."""
        if self.holds:
            return "holds"
        return "too close" if self.margin > 0 else "fails"


def given(statement: str, holds: bool) -> Hypothesis:
    """A condition that holds or does not."""
    return Hypothesis(statement, None, 1.0 if holds else -1.0, 0.0)


def equal(statement: str, distance: float) -> Hypothesis:
    """A condition that two things are equal, which are a relative distance apart."""
    return Hypothesis(statement, distance, EQUAL - distance, 0.0)


def positive(
    statement: str, number: float, scale: float = 1.0, least: float = MARGIN
) -> Hypothesis:
    """A condition that a number is positive, by a share of a scale."""
    return Hypothesis(statement, number, number / scale if scale > 0 else -1.0, least)


def sign(statement: str, number: float) -> Hypothesis:
    """A condition that a number is positive, however small: it sets the time that a limit takes."""
    return Hypothesis(statement, float(number), float(np.sign(number)), 0.5)
