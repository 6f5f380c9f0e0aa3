"""The ``[space]`` table, and the vectors whose length it says."""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from meanformer.attention import Euclidean, Space, Sphere
from meanformer.simulation.case.errors import refusal
from meanformer.simulation.case.types import Table


class SpaceTable(Table):
    """``[space]``: where tokens live."""

    kind: Literal["sphere", "euclidean"] = "sphere"
    """The unit sphere $S^{d-1}$, or ``"euclidean"``: $R^d$."""
    dimension: int = Field(default=3, ge=1, le=1024)
    """d, the ambient dimension: at least 2 on a sphere, at most 3 with ``[pde]``."""
    rescaled: bool = False
    """In $R^d$, of tokens alone: they are $z = e^{-tV}x$, for a law that is normalised: late times
    ([arXiv 2305.05465](https://arxiv.org/abs/2305.05465))."""

    @field_validator("dimension", mode="after")
    @classmethod
    def _has_a_sphere(cls, dimension: int, info: ValidationInfo) -> int:
        if info.data.get("kind") == "sphere" and dimension < 2:
            raise refusal(f"{dimension} is not allowed; must be at least 2 on a sphere")
        return dimension

    @field_validator("rescaled", mode="after")
    @classmethod
    def _is_flat(cls, rescaled: bool, info: ValidationInfo) -> bool:
        if rescaled and info.data.get("kind") == "sphere":
            raise refusal("true is not allowed on a sphere; must be false")
        return rescaled


def space_of(table: SpaceTable) -> Space:
    """The space that a table describes."""
    return Sphere(table.dimension) if table.kind == "sphere" else Euclidean(table.dimension)


def space_in(info: ValidationInfo) -> SpaceTable | None:
    """The space of the case that is validated; None if it is wrong by itself."""
    space: SpaceTable | None = (info.context or {}).get("space")
    return space


def lists_to_tuples(value: object) -> object:
    """Lists, at any depth, as tuples: unions in strict mode would refuse the lists."""
    if isinstance(value, list | tuple):
        return tuple(lists_to_tuples(entry) for entry in value)
    return value


def _of_the_space(vector: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
    space = space_in(info)
    if space is not None and len(vector) != space.dimension:
        need = f"must have {space.dimension}, one for each dimension of space"
        raise refusal(f"has {len(vector)} entries; {need}")
    return vector


def unit(vector: tuple[float, ...]) -> tuple[float, ...]:
    """``vector`` over its norm; a vector that is unit to rounding is kept bit for bit.

    Raises:
        PydanticCustomError: The vector is zero.
    """
    largest = max(map(abs, vector), default=0.0)
    if largest == 0.0:
        raise refusal("has norm 0; must be a nonzero vector")
    if abs(math.hypot(*vector) - 1.0) <= 4 * np.finfo(float).eps:
        return vector
    scaled = tuple(entry / largest for entry in vector)
    length = math.hypot(*scaled)
    return tuple(entry / length for entry in scaled)


Vector = Annotated[
    tuple[float, ...],
    BeforeValidator(lists_to_tuples),
    AfterValidator(_of_the_space),
    Field(json_schema_extra={"phrase": "a list of numbers, one for each dimension of space"}),
]
"""``shape=(d,)``."""

Direction = Annotated[Vector, AfterValidator(unit)]
"""A nonzero vector, kept normalised."""

Points = Annotated[
    tuple[tuple[float, ...], ...],
    BeforeValidator(lists_to_tuples),
    Field(min_length=1, json_schema_extra={"phrase": "a non-empty list of points of space"}),
]
"""``shape=(n, d)``; the shape is not checked."""
