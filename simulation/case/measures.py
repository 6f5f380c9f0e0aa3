"""The measures of the ``[initial]`` table that have a density, one model each."""

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, field_validator, model_validator

from meanformer.attention.measures.euclidean import covariance_fault
from meanformer.simulation.case.errors import refusal
from meanformer.simulation.case.types import (
    NonNegative,
    Points,
    Positive,
    Table,
    Vector,
    norm,
    unit,
)

__all__ = [
    "Box",
    "BoxComponent",
    "Component",
    "Gaussian",
    "GaussianComponent",
    "Harmonic",
    "HarmonicComponent",
    "Mixture",
    "PoissonKernel",
    "PoissonKernelComponent",
    "Uniform",
    "UniformComponent",
    "VonMisesFisher",
    "VonMisesFisherComponent",
]

_COVARIANCE = "a positive number (multiple of the identity) or a covariance matrix [[...], ...]"


def _covariance(
    covariance: float | tuple[tuple[float, ...], ...],
) -> float | tuple[tuple[float, ...], ...]:
    """``covariance`` as it is, or symmetric to the last bit if it is a matrix."""
    if not isinstance(covariance, tuple):
        return covariance
    need = "must be symmetric and positive definite"
    if len({len(row) for row in covariance}) > 1:
        raise refusal(("", f"has rows of different lengths; {need}"))
    matrix = np.array(covariance, dtype=np.float64)
    if fault := covariance_fault(matrix):
        raise refusal(("", f"{fault}; {need}"))
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
    """The uniform measure."""

    kind: Literal["uniform"] = "uniform"


class VonMisesFisher(Table):
    """A cap, rho proportional to exp(c <mean, x>)."""

    kind: Literal["von-mises-fisher"] = "von-mises-fisher"
    mean: Direction
    """Centre of the cap, ``shape=(d,)``, normalised (dimensionless)."""
    concentration: NonNegative
    """c, dimensionless; 0 is uniform."""


class PoissonKernel(Table):
    """rho proportional to ((1 - |a|^2) / |x - a|^2)^{d-1}, the exact solution at beta = 0."""

    kind: Literal["poisson-kernel"] = "poisson-kernel"
    a: Vector
    """A point of the open unit ball, ``shape=(d,)`` (dimensionless); ``vector`` is the same key."""

    @model_validator(mode="before")
    @classmethod
    def _by_either_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "vector" in data and "a" not in data:
            return {"a" if key == "vector" else key: value for key, value in data.items()}
        return data

    @field_validator("a", mode="after")
    @classmethod
    def _inside(cls, a: tuple[float, ...]) -> tuple[float, ...]:
        if not norm(a) < 1.0:
            raise refusal(("", f"has norm {norm(a):.6g}; must be a vector of norm < 1"))
        return a


class Harmonic(Table):
    """Uniform times 1 + amplitude P_k(<axis, x>), with P_k(1) = 1: a zonal harmonic on top.

    On the circle that is 1 + amplitude cos(k theta), theta the angle from the axis.
    """

    kind: Literal["harmonic"] = "harmonic"
    degree: int = Field(ge=1, le=1000)
    """k, the degree of the harmonic."""
    amplitude: float = Field(ge=-1, le=1)
    """Relative to the uniform density (dimensionless)."""
    axis: Direction = ()
    """Axis of symmetry, ``shape=(d,)``, normalised; a case fills in the last coordinate axis."""


class Gaussian(Table):
    """The normal distribution, in R^d."""

    kind: Literal["gaussian"] = "gaussian"
    mean: Vector
    """``shape=(d,)``, in the units of space."""
    covariance: Covariance
    """``shape=(d, d)``, or a number for that multiple of the identity; units of space squared."""


class Box(Table):
    """The uniform measure of a box of R^d; its density jumps at the sides."""

    kind: Literal["box"] = "box"
    lower: Vector
    """Corner of the smallest coordinates, ``shape=(d,)``, in the units of space."""
    upper: Vector
    """Corner of the largest coordinates, ``shape=(d,)``, in the units of space."""

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
        if problems:
            raise refusal(*problems)
        return self


class _Weighted(Table):
    weight: float = Field(default=1.0, gt=0, le=1e9)
    """Share of the mass, relative to the other components (dimensionless)."""


class UniformComponent(_Weighted, Uniform):
    """`Uniform` as a part of a mixture."""


class VonMisesFisherComponent(_Weighted, VonMisesFisher):
    """`VonMisesFisher` as a part of a mixture."""


class PoissonKernelComponent(_Weighted, PoissonKernel):
    """`PoissonKernel` as a part of a mixture."""


class HarmonicComponent(_Weighted, Harmonic):
    """`Harmonic` as a part of a mixture."""


class GaussianComponent(_Weighted, Gaussian):
    """`Gaussian` as a part of a mixture."""


class BoxComponent(_Weighted, Box):
    """`Box` as a part of a mixture."""


Component = Annotated[
    UniformComponent
    | VonMisesFisherComponent
    | PoissonKernelComponent
    | HarmonicComponent
    | GaussianComponent
    | BoxComponent,
    Field(discriminator="kind"),
]
"""A part of a mixture."""


class Mixture(Table):
    """A weighted sum of measures; the weights are relative and need not add up to 1."""

    kind: Literal["mixture"] = "mixture"
    components: tuple[Component, ...] = Field(min_length=1, strict=False)
    """The parts, each with its weight."""
