"""What takes a step in time, and what a step says."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from meanformer.arrays import Array


class Rate(NamedTuple):
    """How fast a state changes.

    Attributes:
        change: d_t of the state, of its shape.
        outflow: What leaves this rank's part of the state per unit of time; an integrator gives it
            the weights that it gives the changes.
    """

    change: Array
    outflow: float = 0.0


#: The right-hand side of an equation: the rate of a state at a time.
Tendency = Callable[[Array, float], Rate]


class Step(NamedTuple):
    """A step that was taken.

    Attributes:
        after: The state at its end.
        outflow: What left this rank's part of the state meanwhile.
    """

    after: Array
    outflow: float


class Stepper(Protocol):
    """An integrator together with an equation."""

    def __call__(self, state: Array, time: float, dt: float, first: Rate) -> Step | None:
        """One step, which does not change ``state``.

        Ranks that share a state each hold a part of it. The integrator does the same on all of
        them, and what it calls may be collective: a stage refused on one rank alone does not
        end the step there. Errors of what it calls are passed on.

        Args:
            state: Where it starts.
            time: When it starts.
            dt: Its length, positive.
            first: The rate at the start: who tries a shorter step has it already.

        Returns:
            The step; None if a limiter refuses a state on this rank.
        """
