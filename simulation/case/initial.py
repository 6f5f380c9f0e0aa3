"""The ``[initial]`` table: the measure at t = 0, of mass 1, on the sphere S^{d-1} or in R^d.

A new kind that has a density is a model here and its name in `Density`.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, Union, get_args

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from meanformer.attention.measures.euclidean import covariance_fault
from meanformer.simulation.case.errors import refusal, refuse, show, suggestion
from meanformer.simulation.case.space import Direction, Points, Vector, space_in
from meanformer.simulation.case.tokens import Tokens
from meanformer.simulation.case.types import NonNegative, Positive, Table

_COVARIANCE = "a positive number (multiple of the identity) or a covariance matrix [[...], ...]"


def _covariance(
    covariance: float | tuple[tuple[float, ...], ...], info: ValidationInfo
) -> float | tuple[tuple[float, ...], ...]:
    """``covariance`` as it is, or symmetric to the last bit if it is a matrix."""
    if not isinstance(covariance, tuple):
        return covariance
    need = "must be symmetric and positive definite"
    if len({len(row) for row in covariance}) > 1:
        raise refusal(f"has rows of different lengths; {need}")
    matrix = np.array(covariance, dtype=np.float64)
    if fault := covariance_fault(matrix):
        raise refusal(f"{fault}; {need}")
    space = space_in(info)
    if space is not None and len(matrix) != space.dimension:
        shape = (space.dimension, space.dimension)
        need = f"must have shape {shape}, or be a positive number"
        raise refusal(f"has shape {matrix.shape}; {need}")
    symmetric = np.tril(matrix) + np.tril(matrix, -1).T
    return tuple(tuple(map(float, row)) for row in symmetric)


Covariance = Annotated[
    Positive | Points,
    AfterValidator(_covariance),
    Field(json_schema_extra={"phrase": _COVARIANCE}),
]
"""A multiple of the identity, or a matrix, ``shape=(d, d)``, symmetric and positive definite."""


class Uniform(Table):
    r"""The uniform measure."""

    spaces: ClassVar = ("sphere",)
    kind: Literal["uniform"] = "uniform"


class VonMisesFisher(Table):
    r"""A cap, of density $\propto e^{c\langle x, m\rangle}$."""

    spaces: ClassVar = ("sphere",)
    kind: Literal["von-mises-fisher"] = "von-mises-fisher"
    mean: Direction
    """m, the centre of the cap, of any length but 0."""
    concentration: NonNegative
    """c; 0 is uniform."""


class PoissonKernel(Table):
    r"""Of density $\propto ((1-\lvert a\rvert^2)/\lvert x-a\rvert^2)^{d-1}$, exact at β = 0."""

    spaces: ClassVar = ("sphere",)
    kind: Literal["poisson-kernel"] = "poisson-kernel"
    a: Vector
    r"""A point of the open unit ball, $\lvert a\rvert < 1$; ``vector`` is the same key."""

    @model_validator(mode="before")
    @classmethod
    def _by_either_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "vector" in data and "a" not in data:
            return {"a" if key == "vector" else key: value for key, value in data.items()}
        return data

    @field_validator("a", mode="after")
    @classmethod
    def _inside(cls, a: tuple[float, ...]) -> tuple[float, ...]:
        if not math.hypot(*a) < 1.0:
            raise refusal(f"has norm {math.hypot(*a):.6g}; must be a vector of norm < 1")
        return a


class Harmonic(Table):
    r"""The uniform density times $1+\text{amplitude}\,P_k(\langle x, axis\rangle)$.

    Here $P_k(1) = 1$; on the circle $\cos k\theta$ stands in place of $P_k$. For d = 2 and 3.
    """

    spaces: ClassVar = ("sphere",)
    kind: Literal["harmonic"] = "harmonic"
    degree: int = Field(ge=1, le=1000)
    """k, the degree of the harmonic."""
    amplitude: float = Field(ge=-1, le=1)
    """Relative to the uniform density."""
    axis: Direction | None = Field(default=None, validate_default=True)
    """Axis of symmetry, of any length but 0; the last coordinate axis where none is given."""

    @field_validator("axis", mode="after")
    @classmethod
    def _or_the_last(
        cls, axis: tuple[float, ...] | None, info: ValidationInfo
    ) -> tuple[float, ...] | None:
        space = space_in(info)
        if axis is None and space is not None:
            return (0.0,) * (space.dimension - 1) + (1.0,)
        return axis


class Gaussian(Table):
    """The normal distribution $N(m, S)$."""

    spaces: ClassVar = ("euclidean",)
    kind: Literal["gaussian"] = "gaussian"
    mean: Vector
    """m, in the units of space."""
    covariance: Covariance
    """S, symmetric and positive definite, in units of space squared."""


class Box(Table):
    """One over the volume inside a box; the density jumps at the sides."""

    spaces: ClassVar = ("euclidean",)
    kind: Literal["box"] = "box"
    lower: Vector
    """The corner of the smallest coordinates, in the units of space."""
    upper: Vector
    """The corner of the largest coordinates, each larger than that of ``lower``."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        problems = []
        # Beside a wrong space, corners may have different lengths.
        for i, (low, high) in enumerate(zip(self.lower, self.upper, strict=False)):
            if not low < high:
                need = f"must be a number < upper[{i}], {high!r}"
            elif not math.isfinite(high - low):
                need = f"must be a finite distance from upper[{i}], {high!r}"
            else:
                continue
            problems.append((f"lower[{i}]", f"{low!r} is not allowed; {need}"))
        refuse(problems)
        return self


class Ball(Table):
    """One over the volume inside a ball; the density jumps at the surface."""

    spaces: ClassVar = ("euclidean",)
    kind: Literal["ball"] = "ball"
    centre: Vector
    """In the units of space."""
    radius: Positive
    """In the units of space."""


Density = Uniform | VonMisesFisher | PoissonKernel | Harmonic | Gaussian | Box | Ball
"""A measure that has a density and may be a part of a mixture."""


def _by_kind(*tables: type[Table]) -> dict[str, type[Table]]:
    return {table.model_fields["kind"].default: table for table in tables}


def _of_the_space(kinds: Mapping[str, Any]) -> BeforeValidator:
    """Refuse kinds of other spaces before their keys are looked at: one mistake is one problem."""

    def check(table: object, info: ValidationInfo) -> object:
        space = space_in(info)
        kind = table.get("kind") if isinstance(table, Mapping) else None
        if space is None or not isinstance(kind, str):  # told by the model
            return table
        allowed = [name for name, one in kinds.items() if space.kind in one.spaces]
        where = f" with space.kind = {space.kind!r}"
        if space.kind == "sphere" and space.dimension > 3:
            allowed.remove("harmonic")
            where = f" with space.dimension = {space.dimension} on a sphere"
        if kind in allowed:
            return table
        why, near = (where, "") if kind in kinds else ("", suggestion(kind, allowed))
        message = f"{show(kind)} is not allowed{why}; allowed: {', '.join(allowed)}{near}"
        raise refusal(message, "kind")

    return BeforeValidator(check)


class Weighted(Table):
    """A part of a mixture: at run time, one of `Density` with a weight beside its own keys."""

    weight: float = Field(default=1.0, gt=0, le=1e9)
    """Share of the mass, relative to the other components."""


def _part() -> Any:
    """The union of each of `Density` with a weight; ``KIND.Part`` is where pickle finds it."""
    for kind in get_args(Density):
        kind.Part = create_model("Part", __base__=(Weighted, kind), __module__=__name__)
        kind.Part.__qualname__ = f"{kind.__name__}.Part"
    parts = tuple(kind.Part for kind in get_args(Density))
    of_the_space = _of_the_space(_by_kind(*parts))
    return Annotated[Union[parts], Field(discriminator="kind"), of_the_space]  # noqa: UP007


if TYPE_CHECKING:
    Part = Weighted
else:
    Part = _part()


class Mixture(Table):
    """The weighted mean of measures of the space; weights need not add up to 1."""

    spaces: ClassVar = ("sphere", "euclidean")
    kind: Literal["mixture"] = "mixture"
    components: tuple[Part, ...] = Field(min_length=1, strict=False)
    """Tables ``[[initial.components]]``: each a density of the space, with its weight."""


KINDS = _by_kind(*get_args(Density), Mixture, Tokens)
"""The tables of the kinds of initial measures, by kind."""

Initial = Annotated[Density | Mixture | Tokens, Field(discriminator="kind"), _of_the_space(KINDS)]
"""Any initial measure of the space."""
