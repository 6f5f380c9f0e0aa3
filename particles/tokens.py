"""The token solver: interacting particles moved by the attention of their own measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from meanformer.mpi import MPI

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.attention import Euclidean, Model, Space, Sphere
from meanformer.attention.rescaled import Rescaled
from meanformer.particles.bounded import BoundedSteps
from meanformer.particles.controlled import ControlledSteps
from meanformer.particles.equation import TokenEquation
from meanformer.particles.layers import LayerSteps, Normalisation
from meanformer.particles.stochastic import StochasticSteps
from meanformer.systems import Systems
from meanformer.threads import blas_for

Integrator = Literal["adaptive", "rk4", "layers"]
# Attention is more accurate than steps by this factor.
_SHARE = 1e-2
_TOLERANCE = 1e-10


class TokenSolver:
    """Solve dx_i = v[mu_n](x_i) dt + sqrt(2 kappa) dW_i, mu_n = (1/n) sum_j delta_{x_j}.

    Tokens are distributed over ranks; on a sphere dW_i is its Brownian motion. A prompt acts beside
    them and does not move (arXiv 2605.30229): v is that of mu_n + mu_0, mu_0 = (1/n) sum_k
    delta_{y_k}. Causal attention knows the order of their numbers, the prompt before all tokens.
    On the sphere, every step ends on it again. In rescaled variables of R^d tokens are
    z = e^{-tV} x (arXiv 2305.05465, section 1), and what is integrated is bounded: see
    ``attention.rescaled``.

    Tokens may be those of several systems, which do not see each other: each moves by the attention
    of its own n tokens, and all of them in the same steps, as long as the one allows that needs the
    shortest.

    Args:
        points: This rank's tokens, ``shape=(n_local, d)``, in the space: those of one system after
            another.
        attention: The model, which may change with time.
        space: Where the tokens live.
        comm: The ranks that share the tokens.
        step: The longest time step, or None for none.
        integrator: "adaptive", steps by their estimated errors (Dormand-Prince 5(4)), or "rk4",
            the classical Runge-Kutta method in steps that end at the times asked for, by ``step``
            or ``Attention.rate_bound``. None is the former, or with noise steps of Heun's
            method, of second order in law, whose lengths are chosen as those of the latter.
            "layers" are those of a transformer, each a step of exactly ``step``: see
            ``particles.layers``. They only go to multiples of it.
        tolerance: Of the adaptive integrator: the error that a step may add, over the spread of
            the tokens (1 on the sphere), from 1e-13 to 1e-2, dimensionless.
        normalisation: Of layers on a sphere: "post", "pre", "peri" or "ngpt"; None is the first.
        rescaled: Whether tokens are z.
        temperature: kappa, the strength of the noise, not negative.
        seed: Of the noise, not negative: that of token i in a step depends on the seed, the system,
            i and the step's number alone.
        system: Which of several solvers with one seed, not negative.
        systems: Of how many systems all ranks' tokens are, of as many each. Of several, a rank has
            whole ones, and the model gives each its own values, if it has such.
        prompt: The y_k, ``shape=(p, d)``, in the space and the same on every rank; None for none.

    Attributes:
        number: n, the tokens of each system.
        systems: Which systems there are, and which of them are here.
        numbers: Global numbers of this rank's tokens, ``shape=(n_local,)``.
        points: This rank's tokens, ``shape=(n_local, d)``.
        weights: 1/n for each, ``shape=(n_local,)``.
        time: Time reached, dimensionless.

    Raises:
        ValueError: On every rank, if there is no token, tokens of any rank are not in the space
            or not those of whole systems, the step is not positive, the tolerance is out of range,
            the temperature is negative or not finite, the variables are rescaled on a sphere, with
            a law that is not normalised, with a drift, with noise or with a prompt, noise comes
            with an integrator that knows none, the prompt is not in the space, layers come without
            a step or in rescaled variables, or a normalisation without layers of a sphere.
    """

    def __init__(
        self,
        points: Array,
        attention: Model,
        space: Space,
        comm: MPI.Intracomm,
        step: float | None = None,
        *,
        integrator: Integrator | None = None,
        tolerance: float = 1e-6,
        normalisation: Normalisation | None = None,
        rescaled: bool = False,
        temperature: float = 0.0,
        seed: int = 0,
        system: int = 0,
        prompt: Array | None = None,
        systems: int = 1,
    ) -> None:
        """Take the initial positions. Collective."""
        self.comm, self.space = comm, space
        self.points = np.ascontiguousarray(points, dtype=float)
        prompt = None if prompt is None else np.asarray(prompt, dtype=float)
        self._check(step, tolerance, rescaled)
        self._check_integrator(integrator, temperature, rescaled)
        self._check_prompt(prompt, rescaled)
        self._check_layers(integrator, step, normalisation, rescaled)
        self.systems = Systems(comm, len(self.points), systems)
        self.number = self.systems.number
        self.numbers = self.systems.first + np.arange(len(self.points))
        self.weights = np.full(len(self.points), 1 / self.number)
        if systems > 1:
            attention = attention.for_systems(self.systems.here)
        self.time = 0.0
        self._rescaled = Rescaled(attention, space.dimension) if rescaled else None
        self._state = self.points
        multiplications = self.number * (self.number + space.dimension) * space.dimension
        self._multiplications = multiplications * len(self.systems.here)
        self._steps: ControlledSteps | BoundedSteps | LayerSteps
        model, accuracy = self._rescaled or attention, min(_TOLERANCE, _SHARE * tolerance)
        self._equation = equation = TokenEquation(
            model, space, self.weights, self.systems, accuracy, temperature, prompt
        )
        if temperature > 0:
            self._steps = StochasticSteps(equation, step, self.systems.first, seed, system)
        elif integrator == "rk4":
            self._steps = BoundedSteps(equation, step)
        elif integrator == "layers":
            assert step is not None
            default: Normalisation | None = "post" if isinstance(space, Sphere) else None
            self._steps = LayerSteps(equation, step, normalisation or default)
            self._move(space.retract(self.points), 0.0)  # lengths start at 1
        else:
            self._steps = ControlledSteps(equation, tolerance, step or np.inf)

    @property
    def steps(self) -> int:
        """Steps taken."""
        return self._steps.steps

    @property
    def refused_steps(self) -> int:
        """Steps tried in vain, whose errors were too large."""
        return self._steps.refused

    @property
    def automatic_step(self) -> float:
        """The longest safe step when the last one began; infinite before the first.

        Of the adaptive integrator, the length of that step; of layers, theirs.
        """
        return self._steps.length

    @property
    def wall_time(self) -> dict[str, float]:
        """Seconds spent in "attention"."""
        return {"attention": self._equation.seconds}

    def velocity(self) -> Array:
        """The velocity at the present tokens, ``shape=(n_local, d)``. Collective.

        Of layers it is that of the flow that attention has in continuous time.

        Raises:
            AttentionDomainError: If it is undefined at a token.
        """
        rate, _ = self._equation.rate_and_bound(self._state, self.time)
        if self._rescaled is None:
            return rate
        return self._rescaled.during(self.time).velocity(self._state, rate, self.time)

    def attention_matrix(self) -> Array:
        """The attention matrix P of every head, ``shape=(h, n_local, n)``. Collective.

        Rows are this rank's, and columns all tokens of their system in the order of their numbers,
        after those of a prompt. It is that of x, also where tokens are z.

        Raises:
            AttentionDomainError: If the velocity is undefined at a token.
        """
        return self._equation.matrix(self._state, self.time)

    def leaders(self) -> npt.NDArray[np.bool_]:
        """Which tokens attend to themselves alone, in every head of the hardmax law. Collective.

        Returns:
            Of this rank's tokens, ``shape=(n_local,)``. See ``TokenEquation.leaders``.

        Raises:
            AttentionDomainError: If tokens are not finite.
        """
        return self._equation.leaders(self._state, self.time)

    def mass(self) -> float:
        """Mean of the systems' masses; nan if a token of any is not finite. Collective."""
        share = float(self.weights.sum()) if np.all(np.isfinite(self.points)) else np.nan
        return float(self.comm.allreduce(share)) / self.systems.count

    def arrays(self) -> dict[str, Array]:
        """What a solver of the same problem needs to go on; rows go with ``numbers``."""
        numbers = {"time": np.array(self.time), "steps": np.array(self.steps)}
        return {"points": self._state} | numbers | self._steps.arrays(self._state)

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from what ``arrays`` gave, with this rank's rows by ``numbers``. Collective."""
        self._steps.restore(arrays)
        self._move(arrays["points"], float(arrays["time"]))

    def step(self, until: float) -> None:
        """Take one time step, which may end beyond ``until``: then tokens are those at ``until``.

        Collective.

        Raises:
            AttentionDomainError: If the velocity is undefined at a token.
            StepTooSmallError: If the step is too small to go on.
            ToleranceError: If no step is short enough for the tolerance.
            RescalingError: If e^{tV} exceeds double precision.
            NormalisationError: If a layer leaves a token without a direction.
            ValueError: If ``until``, or a change of the model, is within a layer.
        """
        with blas_for(self._multiplications):
            self._move(*self._steps.go_on(self._state, self.time, until))

    def _move(self, state: Array, time: float) -> None:
        self._state, self.time, self.points = state, time, state
        if self._rescaled is not None:
            self.points = self._rescaled.during(time).rescaled(state, time)
        elif isinstance(self._steps, LayerSteps):
            self.points = self.space.retract(state)

    @staticmethod
    def _check_integrator(integrator: str | None, temperature: float, rescaled: bool) -> None:
        if not (np.isfinite(temperature) and temperature >= 0):
            raise ValueError(
                f"tokens: temperature is {temperature}; it must be finite and not negative"
            )
        if integrator is not None and integrator not in get_args(Integrator):
            allowed = ", ".join(get_args(Integrator))
            raise ValueError(f"tokens: integrator is {integrator!r}; allowed: {allowed}")
        if temperature > 0 and integrator is not None:
            raise ValueError(f"tokens: integrator is {integrator!r}; it must be None with noise")
        if temperature > 0 and rescaled:
            raise ValueError("tokens: rescaled is True; it must be False with noise")

    def _check_prompt(self, prompt: Array | None, rescaled: bool) -> None:
        """Check the prompt. Collective."""
        dimension = self.space.dimension
        if self.comm.allreduce(prompt is not None, op=MPI.LAND) and rescaled:
            raise ValueError("tokens: rescaled is True; it must be False with a prompt")
        fits = prompt is None or (
            prompt.ndim == 2
            and prompt.shape[1] == dimension
            and bool(np.isfinite(prompt).all())
            and self.space.holds(prompt)
        )
        if not self.comm.allreduce(fits, op=MPI.LAND):
            raise ValueError(
                f"tokens: prompt must have shape (p, {dimension}), each row a point of the space"
            )

    def _check_layers(
        self,
        integrator: str | None,
        step: float | None,
        normalisation: str | None,
        rescaled: bool,
    ) -> None:
        on_sphere = isinstance(self.space, Sphere)
        allowed = get_args(Normalisation) if integrator == "layers" and on_sphere else ()
        if normalisation is not None and normalisation not in allowed:
            need = f"allowed: {', '.join(allowed)}" if allowed else "it is of layers on spheres"
            raise ValueError(f"tokens: normalisation is {normalisation!r}; {need}")
        if integrator == "layers" and step is None:
            raise ValueError("tokens: step is None; it must be a number, the length of a layer")
        if integrator == "layers" and rescaled:
            raise ValueError("tokens: rescaled is True; it must be False with layers")

    def _check(self, step: float | None, tolerance: float, rescaled: bool) -> None:
        """Check the other arguments. Collective."""
        if step is not None and not step > 0:
            raise ValueError(f"tokens: step is {step}; it must be positive")
        if not 1e-13 <= tolerance <= 1e-2:
            raise ValueError(f"tokens: tolerance is {tolerance}; must be from 1e-13 to 1e-2")
        if rescaled and not isinstance(self.space, Euclidean):
            raise ValueError("tokens: rescaled is True; it must be False on a sphere")
        points, dimension = self.points, self.space.dimension
        fits = points.ndim == 2 and points.shape[1] == dimension
        if not self.comm.allreduce(fits, op=MPI.LAND):
            raise ValueError(f"tokens: points must have shape (n, {dimension})")
        if not self.comm.allreduce(self.space.holds(points), op=MPI.LAND):
            raise ValueError("tokens: points must be unit vectors")
