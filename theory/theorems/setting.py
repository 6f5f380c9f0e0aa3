"""What theorems look at: a model with its start, and what a run leaves at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.linalg import expm

from meanformer.arrays import Array
from meanformer.attention import Attention, Model, Space
from meanformer.attention.matrices import full, multiple_of_identity
from meanformer.attention.measures import Measure
from meanformer.attention.measures.measure import uniform_numbers
from meanformer.errors import SolverError
from meanformer.theory.theorems.hypotheses import Hypothesis, equal, given, positive

# Given tokens are not at rest if one of so many moves faster than round-off.
_WATCHED, _AT_REST = 100, 1e-9

#: The columns of a table by name, ``shape=(samples,)`` each.
Columns = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Setting:
    """A model and what it starts from.

    Attributes:
        model: Attention as a function of time.
        space: Where tokens live.
        temperature: kappa, dimensionless.
        tokens: All of them at t = 0, ``shape=(n, d)``; None without tokens.
        measure: What the density or the tokens are drawn from at t = 0; None for listed tokens.
        has_density: Whether a density is evolved.
        has_prompt: Whether fixed tokens act beside those that move.
        in_layers: Whether tokens go from layer to layer, not through continuous time.
    """

    model: Model
    space: Space
    temperature: float = 0.0
    tokens: Array | None = None
    measure: Measure | None = None
    has_density: bool = False
    has_prompt: bool = False
    in_layers: bool = False

    @cached_property
    def attention(self) -> Attention:
        """The attention of the first layer."""
        return self.model.during(0.0).at(0.0)

    @property
    def is_constant(self) -> bool:
        """Whether there is no other layer."""
        return bool(np.isinf(self.model.next_change(0.0)))

    @property
    def heads(self) -> int:
        """How many heads there are."""
        return len(self.attention.all_heads)

    @cached_property
    def value(self) -> Array:
        """V, the sum over heads, ``shape=(d, d)``."""
        return self.attention.value_in(self.space.dimension)

    @cached_property
    def product(self) -> Array:
        """Beta Q^T K of the first head, ``shape=(d, d)``: logits are <x, beta Q^T K y>."""
        head = self.attention.all_heads[0]
        return self.attention.beta * full(head.product, self.space.dimension).T

    @cached_property
    def mean_length(self) -> float:
        """|int x dmu| at t = 0: of a density to 0.01, by 100 000 samples.

        It is the smaller of both where a density and tokens are evolved.
        """
        starts = [] if self.tokens is None else [self.tokens]
        if self.measure is not None and (self.has_density or not starts):
            starts.append(self.measure.sample(uniform_numbers(0, 100_000, 0, self.space)))
        return float(min(np.linalg.norm(points.mean(axis=0)) for points in starts))

    def model_is(self, *laws: str, causal: bool = False) -> list[Hypothesis]:
        """The hypotheses on the kind of model that most theorems share.

        Tokens see all tokens; or, where ``causal``, those before them and themselves.
        """
        attention = self.attention
        if causal:
            sees = "attention is causal, tokens see themselves, and weights do not decay"
            holds = attention.causal and attention.sees_itself and attention.decay == 0
        else:
            sees, holds = "tokens see all tokens", not attention.causal
        return [
            given(f"the law is {' or '.join(laws)}", self.attention.law in laws),
            given(
                "there is one head, of values V y", self.heads == 1 and not self.attention.relative
            ),
            given("Q, K and V do not change with time", self.is_constant),
            given("there is no drift", self.attention.drift is None),
            given(sees, holds),
            given("there is no prompt", not self.has_prompt),
            given("time is continuous: tokens do not go in layers", not self.in_layers),
        ]

    def not_at_rest(self) -> Hypothesis:
        """That the start is no unstable equilibrium, for theorems on almost every start.

        Tokens that are drawn at random are none, with probability one.
        """
        if self.tokens is None or self.measure is not None:
            return given("the start is drawn from a density", True)
        count = len(self.tokens)
        weights, watched = np.full(count, 1 / count), self.tokens[:_WATCHED]
        try:
            speeds = self.attention.velocity(watched, self.tokens, weights, self.space)
        except SolverError:
            return given("the velocity is defined at t = 0", False)
        fastest = float(np.linalg.norm(speeds, axis=1).max())
        return positive("given tokens are not at rest: their largest speed", fastest, 1.0, _AT_REST)

    def without_noise(self) -> Hypothesis:
        """That kappa is 0."""
        return Hypothesis(
            "kappa, the strength of noise, is 0", self.temperature, 0.0 - self.temperature, 0.0
        )


@dataclass(frozen=True, eq=False)
class End:
    """What a run leaves.

    Attributes:
        setting: What was run.
        time: t at the end.
        points: All tokens then, ``shape=(n, d)``; None without tokens.
        rescaled: Whether they are z = e^{-tV} x.
        matrix: Gives the attention matrix P then, ``shape=(h, n, n)``; None without tokens.
        tables: Columns over the samples by the stem of their file: "pde", "particles".
    """

    setting: Setting
    time: float
    points: Array | None = None
    rescaled: bool = False
    matrix: Callable[[], Array] | None = None
    tables: Mapping[str, Columns] = field(default_factory=dict)

    @cached_property
    def z(self) -> Array:
        """The rescaled tokens, ``shape=(n, d)``."""
        assert self.points is not None
        if self.rescaled:
            return self.points
        return self.points @ expm(-self.time * self.setting.value).T

    @property
    def columns(self) -> Columns:
        """The table of the density where there is one, else that of the tokens."""
        return self.tables["pde" if self.setting.has_density else "particles"]

    @property
    def mean_length(self) -> float:
        """|int x dmu|."""
        dimension = self.setting.space.dimension
        if self.points is not None and not self.setting.has_density:
            return float(np.linalg.norm(self.points.mean(axis=0)))
        return float(np.linalg.norm([self.columns[f"mean_{i + 1}"][-1] for i in range(dimension)]))


def multiple(statement: str, matrix: Array) -> tuple[Hypothesis, float]:
    """The hypothesis that a matrix is a multiple c I of the identity, and c."""
    factor = float(np.trace(matrix)) / len(matrix)
    size = np.abs(matrix).max(initial=0.0)
    distance = np.abs(matrix - factor * np.eye(len(matrix))).max() / size if size > 0 else 0.0
    exact = multiple_of_identity(matrix)
    return equal(f"{statement} is a multiple of the identity", distance), (
        factor if exact is None else exact
    )
