"""Steps of tokens by their estimated errors, with samples inside of them."""

from __future__ import annotations

from collections.abc import Mapping

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import AttentionDomainError, Sphere
from meanformer.attention.rescaled import RescalingError
from meanformer.errors import SolverError
from meanformer.integrators.control import StepControl, ToleranceError
from meanformer.integrators.embedded import DORMAND_PRINCE, DenseStep
from meanformer.integrators.stepper import Rate
from meanformer.integrators.steps import equal_steps
from meanformer.particles.equation import TokenEquation

# The first step is this share of the time in which velocities change, 1/|Dv|, or of a unit of time.
_FIRST = 0.2
# After as many steps their length is that of the dynamics, and no longer that of the start.
_START = 100
# No error below this share of the largest coordinate can be asked for; tokens nearer to each other
# than a tenth of it are in one place.
_ROUND_OFF = 1e-13
# A step shorter than that by this share still ends where the model jumps.
_SLACK = 1e-9


class ControlledSteps:
    """Steps of Dormand and Prince's pair, each as long as its error allows.

    No token's estimated error in a step exceeds the tolerance times the spread of its system: 1 on
    the sphere; in R^d the root mean square distance from their mean, and where all are in one
    place, their largest coordinate. All systems take the same steps. A step may end beyond the time
    that was asked for: tokens inside of it follow from its rates.

    Args:
        equation: What moves the tokens.
        tolerance: Positive, dimensionless.
        longest: No step is longer.

    Attributes:
        steps: Steps taken.
        refused: Steps refused.
    """

    def __init__(self, equation: TokenEquation, tolerance: float, longest: float = np.inf) -> None:
        self.steps, self.refused = 0, 0
        self._equation, self._tolerance, self._longest = equation, tolerance, longest
        self._control = StepControl(DORMAND_PRINCE.order, 0.0)
        self._step: DenseStep | None = None
        self._end = 0.0

    @property
    def length(self) -> float:
        """Length of the last step; infinite before the first."""
        return self._step.length if self._step else np.inf

    def go_on(self, state: Array, time: float, until: float) -> tuple[Array, float]:
        """The state at the end of a step, or at ``until`` if that is sooner. Collective.

        Args:
            state: At ``time``, ``shape=(n_local, d)``.
            time: What was returned last, or 0.
            until: A later time.

        Raises:
            ToleranceError: On every rank, if no step is short enough.
            AttentionDomainError: On every rank, if however short a step leaves its domain.
            RescalingError: On every rank, if e^{tV} exceeds double precision before ``until``.
            StepTooSmallError: On every rank, if ``until`` would never be reached.
        """
        if self._step is None or time >= self._end:
            if self.steps >= _START:
                equal_steps(until - time, self._control.length)
            self._step = self._take(state, time, until)
        retract = self._equation.space.retract
        if until < self._end:
            return retract(self._step.at(until)), until
        return retract(self._step.after()), self._end

    def arrays(self, state: Array) -> dict[str, Array]:
        """What goes on with the last step; rows of this rank, ``shape=(n_local, d)``."""
        step, control = self._step, self._control
        numbers = {
            "refused_steps": self.refused,
            "next_length": control.length,
            "last_error": control.error,
            "was_refused": control.refused,
            "start": step.start if step else 0.0,
            "length": step.length if step else 0.0,
            "end": self._end,
        }
        return {
            "before": step.before if step else state,
            "first_rate": step.rates[0].change if step else np.zeros_like(state),
            **{name: np.array(float(number)) for name, number in numbers.items()},
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from what ``arrays`` gave. Collective: the last step is taken again."""
        self.steps, self.refused = int(arrays["steps"]), int(arrays["refused_steps"])
        control = self._control
        control.length, control.error = float(arrays["next_length"]), float(arrays["last_error"])
        control.refused = bool(arrays["was_refused"])
        self._end = float(arrays["end"])
        start, length = float(arrays["start"]), float(arrays["length"])
        if length > 0:
            self._step = self._try(arrays["before"], start, length, arrays["first_rate"])

    def _take(self, state: Array, time: float, until: float) -> DenseStep:
        """Take a step, which may end beyond ``until``. Collective."""
        equation, control = self._equation, self._control
        change = equation.model.next_change(time)
        first = self._first_rate(state, time)
        allowed = self._tolerance * self._spreads(state)
        allowed[allowed == 0] = 1.0  # nothing moves if all are at 0
        failure: SolverError = ToleranceError(
            f"steps are too small to go on at t = {time:g}: a tolerance of {self._tolerance:g} "
            "cannot be met"
        )
        while True:
            proposed = min(control.length, self._longest)
            dt = control.length = _fitted(proposed, change - time)
            if not time + dt / 8 > time:
                raise failure
            error = np.inf
            try:
                with np.errstate(over="ignore", invalid="ignore"):
                    step = self._try(state, time, dt, first)
                errors = equation.systems.apart(np.linalg.norm(step.error(), axis=1))
                share = float((errors.max(axis=1, initial=0.0) / allowed).max(initial=0.0))
                error = share if np.isfinite(share) else np.inf
            except AttentionDomainError as beyond:  # on every rank
                failure = beyond
            except RescalingError as beyond:  # likewise
                if time + dt <= until:
                    raise
                failure = beyond
            if control.accepts(equation.comm.allreduce(error, op=MPI.MAX)):
                break
            self.refused += 1
        if dt < proposed:  # it says little of what is possible
            control.length = max(control.length, proposed)
        self.steps += 1
        self._end = change if dt == change - time else time + dt
        return step

    def _try(self, state: Array, time: float, dt: float, first: Array) -> DenseStep:
        """A step of a given length. Collective."""
        equation = self._equation
        equation.forget()
        layer = equation.model.during(time)
        given = state, time, dt
        rates = DORMAND_PRINCE.rates(
            *given, Rate(first), lambda u, t: Rate(equation.rate(u, t, layer))
        )
        return DenseStep(DORMAND_PRINCE, *given, rates)

    def _first_rate(self, state: Array, time: float) -> Array:
        """The rate where a step starts: that at the end of the last, unless the model jumped."""
        equation = self._equation
        if self._step is None:
            with np.errstate(over="ignore", invalid="ignore"):
                rate, bound = equation.rate_and_bound(state, time)
            fastest = equation.comm.allreduce(bound, op=MPI.MAX)
            self._control.length = _FIRST / max(fastest, 1.0)
            return rate
        if equation.model.next_change(self._step.start) <= time:
            equation.forget()
            return equation.rate(state, time, equation.model.during(time))
        return self._step.rates[-1].change

    def _spreads(self, state: Array) -> Array:
        """How far the tokens of each system here spread, ``shape=(systems,)``. Collective."""
        equation, systems = self._equation, self._equation.systems
        if isinstance(equation.space, Sphere):
            return np.ones(len(systems.here))
        points, weights = systems.apart(state), systems.apart(equation.weights)[:, :, None]
        within = systems.within
        means = within.allreduce((weights * points).sum(axis=1))
        squares = within.allreduce((weights * (points - means[:, None]) ** 2).sum(axis=(1, 2)))
        largest = within.allreduce(np.abs(points).max(axis=(1, 2), initial=0.0), op=MPI.MAX)
        spreads: Array = np.sqrt(squares)
        least = np.maximum(spreads, _ROUND_OFF / self._tolerance * largest)
        return np.where(spreads <= 0.1 * _ROUND_OFF * largest, largest, least)


def _fitted(length: float, rest: float) -> float:
    """A length no longer than what is left until the model jumps, and that leaves no sliver."""
    if length * (1 + _SLACK) >= rest:
        return rest
    return rest / 2 if 2 * length > rest * (1 + _SLACK) else length
