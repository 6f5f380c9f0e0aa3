"""The ``[initial]`` table: the measure at t = 0, of mass 1, on the sphere S^{d-1}."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from meanformer.simulation.case_errors import refusal
from meanformer.simulation.case_types import (
    NonNegative,
    Points,
    Table,
    Vector,
    norm,
    unit,
)

__all__ = [
    "Component",
    "Harmonic",
    "HarmonicComponent",
    "Initial",
    "Mixture",
    "PoissonKernel",
    "PoissonKernelComponent",
    "Tokens",
    "Uniform",
    "UniformComponent",
    "VonMisesFisher",
    "VonMisesFisherComponent",
    "initial_problems",
    "with_default_axis",
]

UNIT_TOLERANCE = 1e-6
"""How far the norm of a given token may be from 1."""

Direction = Annotated[Vector, AfterValidator(unit)]
"""A nonzero vector, kept normalised."""


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
    """Uniform times 1 + amplitude P_k(<axis, x>), with P_k(1) = 1: a zonal harmonic on top."""

    kind: Literal["harmonic"] = "harmonic"
    degree: int = Field(ge=1, le=1000)
    """k, the degree of the harmonic."""
    amplitude: float = Field(ge=-1, le=1)
    """Relative to the uniform density (dimensionless)."""
    axis: Direction = ()
    """Axis of symmetry, ``shape=(d,)``, normalised; a case fills in the last coordinate axis."""


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


Component = Annotated[
    UniformComponent | VonMisesFisherComponent | PoissonKernelComponent | HarmonicComponent,
    Field(discriminator="kind", json_schema_extra={"planned": ["gaussian", "box"]}),
]
"""A part of a mixture."""


class Mixture(Table):
    """A weighted sum of measures; the weights are relative and need not add up to 1."""

    kind: Literal["mixture"] = "mixture"
    components: tuple[Component, ...] = Field(min_length=1, strict=False)
    """The parts, each with its weight."""


class Tokens(Table):
    """Given tokens, each of weight 1/n: from a file or written out, one of the two."""

    kind: Literal["tokens"] = "tokens"
    file: str | None = None
    """A ``.npy`` file of ``shape=(n, d)``; relative to the case file, absolute once resolved."""
    points: Points | None = None
    """The tokens themselves, ``shape=(n, d)`` (dimensionless)."""

    @field_validator("file", mode="after")
    @classmethod
    def _readable(cls, file: str | None, info: ValidationInfo) -> str | None:
        if file is None:
            return None
        folder = (info.context or {}).get("folder", Path())
        path = os.path.abspath(os.path.join(folder, file))
        need = "must be a .npy file of numbers, one row a token, at least one"
        try:
            tokens = open_memmap(path, mode="r")  # never unpickles
        except OSError as error:
            raise refusal(("", f"cannot read {path}: {error.strerror or error}; {need}")) from None
        except (ValueError, EOFError, SyntaxError):
            raise refusal(("", f"{path} holds no array of numbers; {need}")) from None
        if tokens.dtype.kind not in "fiu":
            raise refusal(("", f"{path} holds values of type {tokens.dtype}; {need}"))
        return path

    @model_validator(mode="after")
    def _one_source(self) -> "Tokens":
        if (self.file is None) == (self.points is None):
            given = "missing" if self.file is None else "given beside 'points'"
            raise refusal(("file", f"{given}; must be exactly one of 'file' and 'points'"))
        return self

    @property
    def number(self) -> int:
        """n, the number of tokens."""
        return len(self._raw())

    def load(self) -> npt.NDArray[np.float64]:
        """The tokens, ``shape=(n, d)``, each row normalised."""
        tokens = np.array(self._raw(), dtype=np.float64)
        tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
        return tokens

    def _raw(self) -> npt.NDArray[Any]:
        if self.file is None:
            return np.array(self.points, dtype=np.float64)
        tokens: npt.NDArray[Any] = open_memmap(self.file, mode="r")  # never unpickles
        return tokens

    def problems(self, dimension: int) -> list[tuple[str, str]]:
        """Pairs (key, message): a wrong shape, and the first row that is no unit vector."""
        need = f"must have shape (n, {dimension}), n >= 1"
        if self.points is not None and len({len(row) for row in self.points}) > 1:
            return [("points", f"has rows of different lengths; {need}")]
        key = "points" if self.file is None else "file"
        raw = self._raw()
        if raw.ndim != 2 or raw.shape[1] != dimension or raw.shape[0] == 0:
            return [(key, f"has shape {raw.shape}; {need}")]
        lengths = np.linalg.norm(np.asarray(raw, dtype=np.float64), axis=1)
        # The comparison is false for nan.
        off = np.flatnonzero(~(np.abs(lengths - 1.0) <= UNIT_TOLERANCE))
        if off.size == 0:
            return []
        need = f"must be a finite unit vector to {UNIT_TOLERANCE:g}"
        row, length = int(off[0]), float(lengths[off[0]])
        if self.file is None:
            return [(f"points[{row}]", f"has norm {length:.9g}; {need}")]
        return [("file", f"row {row} has norm {length:.9g}; each row {need}")]


Initial = Annotated[
    Uniform | VonMisesFisher | PoissonKernel | Harmonic | Mixture | Tokens,
    Field(discriminator="kind", json_schema_extra={"planned": ["gaussian", "box"]}),
]
"""Any initial measure."""


def initial_problems(initial: Initial, dimension: int) -> list[tuple[str, str]]:
    """Pairs (key below ``initial``, message) of what does not fit the dimension of space."""
    if isinstance(initial, Tokens):
        return initial.problems(dimension)
    if isinstance(initial, Mixture):
        return [
            (f"components[{i}].{key}", message)
            for i, component in enumerate(initial.components)
            for key, message in initial_problems(component, dimension)
        ]
    return [
        (key, f"has {len(vector)} entries; must have {dimension}, one for each dimension of space")
        for key, vector in initial
        if isinstance(vector, tuple) and len(vector) != dimension
    ]


def with_default_axis(initial: Initial, dimension: int) -> Initial:
    """``initial`` with the last coordinate axis wherever a harmonic names none."""
    if isinstance(initial, Mixture):
        parts = tuple(with_default_axis(part, dimension) for part in initial.components)
        return initial.model_copy(update={"components": parts})
    if isinstance(initial, Harmonic) and not initial.axis:
        return initial.model_copy(update={"axis": (0.0,) * (dimension - 1) + (1.0,)})
    return initial
