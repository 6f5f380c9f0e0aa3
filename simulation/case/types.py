"""What every table of a case is made of: the base model, bounded numbers, vectors, matrices."""

import math
import os
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from meanformer.arrays import Array
from meanformer.simulation.case.errors import refusal


class Table(BaseModel):
    """A table of a case: frozen, hashable, strictly typed, no unknown keys, no nan or inf."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def _not_set(value: bool) -> bool:
    if value:
        raise refusal("true is not supported in this version; allowed: false")
    return value


def _visible(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise refusal(f"{text!r} is not allowed; must be a non-empty string")
    return text


def _resolved(path: str, info: ValidationInfo) -> str:
    return os.path.abspath(os.path.join((info.context or {}).get("folder", ""), path))


def _lists_to_tuples(value: object) -> object:
    """Lists, at any depth, as tuples: unions in strict mode would refuse the lists."""
    if isinstance(value, list | tuple):
        return tuple(_lists_to_tuples(entry) for entry in value)
    return value


Positive = Annotated[float, Field(gt=0)]
"""A finite number > 0."""

NonNegative = Annotated[float, Field(ge=0)]
"""A finite number >= 0."""

Text = Annotated[str, Field(min_length=1), AfterValidator(_visible)]
"""A string that is not blank."""

Path = Annotated[Text, AfterValidator(_resolved)]
"""A file, relative to the case file; absolute once resolved."""

Off = Annotated[bool, AfterValidator(_not_set), Field(json_schema_extra={"enum": [False]})]
"""A switch that this version keeps off."""

Vector = Annotated[
    tuple[float, ...],
    BeforeValidator(_lists_to_tuples),
    Field(json_schema_extra={"phrase": "a list of numbers, one for each dimension of space"}),
]
"""``shape=(d,)``. The length is checked by the case, which knows d."""

Points = Annotated[
    tuple[tuple[float, ...], ...],
    BeforeValidator(_lists_to_tuples),
    Field(min_length=1, json_schema_extra={"phrase": "a non-empty list of points of space"}),
]
"""``shape=(n, d)``. The shape is checked by the case, which knows d."""

Matrix = Annotated[
    Literal["identity"] | float | tuple[tuple[float, ...], ...],
    BeforeValidator(_lists_to_tuples),
    Field(
        json_schema_extra={
            "phrase": "'identity', a finite number (multiple of it) or a matrix [[...], ...]"
        }
    ),
]
"""``"identity"``, a multiple of it, or rows of ``shape=(r, d)``, checked by the case."""


def as_matrix(entry: Matrix | None, dimension: int) -> Array | None:
    """The matrix that a case's entry stands for.

    Args:
        entry: Such as ``case.attention.query``.
        dimension: The ambient dimension d.

    Returns:
        ``shape=(r, d)``, or None for the identity and for no entry.
    """
    if entry is None or entry == "identity":
        return None
    if isinstance(entry, tuple):
        return np.array(entry, dtype=np.float64)
    return float(entry) * np.eye(dimension)


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
