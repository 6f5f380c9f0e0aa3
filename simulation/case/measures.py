"""The measures of the ``[initial]`` table that have a density, one model each.

A new kind is a model here and its name in `Density`.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Union, get_args

import numpy as np
from pydantic import (
    AfterValidator,
    Field,
    GetPydanticSchema,
    create_model,
    field_validator,
    model_validator,
)

from meanformer.attention.measures.euclidean import covariance_fault
from meanformer.simulation.case.errors import refusal, refuse
from meanformer.simulation.case.types import NonNegative, Points, Positive, Table, Vector, unit

_COVARIANCE = "a positive number (multiple of the identity) or a covariance matrix [[...], ...]"


def _covariance(
    covariance: float | tuple[tuple[float, ...], ...],
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
    symmetric = np.tril(matrix) + np.tril(matrix, -1).T
    return tuple(tuple(map(float, row)) for row in symmetric)


Direction = Annotated[Vector, AfterValidator(unit)]
"""A nonzero vector, kept normalised."""

Covariance = Annotated[
    Positive | Points,
    AfterValidator(_covariance),
    Field(json_schema_extra={"phrase": _COVARIANCE}),
]
"""A multiple of the identity, or a matrix, ``shape=(d, d)``, symmetric and positive definite."""


class Uniform(Table):
    r"""The uniform measure, of density $1/2\pi$ or $1/4\pi$."""

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

    Here $P_k(1) = 1$; on the circle $\cos k\theta$ stands in place of $P_k$.
    """

    spaces: ClassVar = ("sphere",)
    kind: Literal["harmonic"] = "harmonic"
    degree: int = Field(ge=1, le=1000)
    """k, the degree of the harmonic."""
    amplitude: float = Field(ge=-1, le=1)
    """Relative to the uniform density."""
    axis: Direction = ()
    """Axis of symmetry, of any length but 0; the last coordinate axis where none is given."""


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
    def _in_order(self) -> "Box":
        problems = []
        # Corners of different lengths are told by the case, which knows d.
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


Density = Uniform | VonMisesFisher | PoissonKernel | Harmonic | Gaussian | Box
"""A measure that has a density and may be a part of a mixture."""


class Weighted(Table):
    """A part of a mixture: at run time, one of `Density` with a weight beside its own keys."""

    weight: float = Field(default=1.0, gt=0, le=1e9)
    """Share of the mass, relative to the other components."""


def _parts() -> Any:
    """The union of each of `Density` with a weight; ``KIND.Part`` is where pickle finds it."""
    for kind in get_args(Density):
        kind.Part = create_model("Part", __base__=(Weighted, kind), __module__=__name__)
        kind.Part.__qualname__ = f"{kind.__name__}.Part"
    parts = tuple(kind.Part for kind in get_args(Density))
    return Annotated[Union[parts], Field(discriminator="kind")]  # noqa: UP007


_PARTS = _parts()


class Mixture(Table):
    """The weighted mean of measures of the space; weights need not add up to 1."""

    spaces: ClassVar = ("sphere", "euclidean")
    kind: Literal["mixture"] = "mixture"
    components: tuple[
        Annotated[Weighted, GetPydanticSchema(lambda _, handler: handler(_PARTS))], ...
    ] = Field(min_length=1, strict=False)
    """Tables ``[[initial.components]]``: each a density of the space, with its weight."""
