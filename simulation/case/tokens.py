"""Tokens given one by one: in place of an initial density, and beside those that move."""

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, ValidationInfo, model_validator

from meanformer.arrays import Array
from meanformer.simulation.case.array_files import ArrayFileError, read_array
from meanformer.simulation.case.errors import refusal
from meanformer.simulation.case.space import Points, space_in
from meanformer.simulation.case.types import Path, Table

_UNIT_TOLERANCE = 1e-6  # how far the norm of a given token may be from 1


def _readable(path: str) -> str:
    try:
        read_array(path)
    except ArrayFileError as error:
        need = "must be numbers, one row a token, at least one, in a file .npy or .csv, or in an "
        raise refusal(f"{error}; {need}archive .npz:NAME or .safetensors:NAME") from None
    return path


class GivenTokens(Table):
    """Tokens from a file or written out."""

    file: Annotated[Path, AfterValidator(_readable)] | None = None
    """Of ``shape=(n, d)``, relative to the case file: ``.npy``, ``.csv``, ``.npz:NAME`` or
    ``.safetensors:NAME``, of any precision."""
    points: Points | None = None
    """The tokens themselves, ``shape=(n, d)``: unit vectors on the sphere."""
    normalise: bool = False
    """On the sphere: rows of any length but 0 are divided by it."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) == (self.points is None):
            given = "missing" if self.file is None else "given beside 'points'"
            raise refusal(f"{given}; must be exactly one of 'file' and 'points'", "file")
        return self

    @property
    def number(self) -> int:
        """n, the number of tokens."""
        return len(self._raw())

    def load(self, space_kind: str = "sphere") -> Array:
        """The tokens, ``shape=(n, d)``, each row normalised on the sphere."""
        tokens = np.array(self._raw(), dtype=np.float64)
        if space_kind == "sphere":
            tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
        return tokens

    def _raw(self) -> npt.NDArray[Any]:
        if self.file is None:
            return np.array(self.points, dtype=np.float64)
        return read_array(self.file)

    @model_validator(mode="after")
    def _in_the_space(self, info: ValidationInfo) -> Self:
        """A wrong shape, or the first row that is no point of space, is refused."""
        space = space_in(info)
        if space is None:
            return self
        key = "points" if self.file is None else "file"
        need = f"must have shape (n, {space.dimension}), n >= 1"
        if self.points is not None and len({len(row) for row in self.points}) > 1:
            raise refusal(f"has rows of different lengths; {need}", key)
        raw = self._raw()
        if raw.ndim != 2 or raw.shape[1] != space.dimension or raw.shape[0] == 0:
            raise refusal(f"has shape {raw.shape}; {need}", key)
        tokens = np.asarray(raw, dtype=np.float64)
        if space.kind == "sphere":
            lengths = np.linalg.norm(tokens, axis=1)
            held = np.abs(lengths - 1.0) <= _UNIT_TOLERANCE  # false for nan
            need = f"must be a finite unit vector to {_UNIT_TOLERANCE:g}, or 'normalise' be true"
            if self.normalise:
                held, need = (lengths > 0) & np.isfinite(lengths), "must be finite, and not zero"
        elif self.normalise:
            raise refusal("true is for spheres; must be false in this space", "normalise")
        else:
            lengths = np.abs(tokens).max(axis=1)
            held = np.isfinite(lengths)
            need = "must be finite"
        if not np.all(held):
            row = int(np.argmin(held))
            found = f"has norm {lengths[row]:.9g}"
            if self.file is None:
                raise refusal(f"{found}; {need}", f"points[{row}]")
            raise refusal(f"row {row} {found}; each row {need}", "file")
        return self


class Tokens(GivenTokens):
    """Given tokens, each of weight 1/n, from a file or written out: for runs without ``[pde]``."""

    spaces: ClassVar = ("sphere", "euclidean")
    kind: Literal["tokens"] = "tokens"


class PromptTable(GivenTokens):
    """``[prompt]``: tokens that act and do not move, before all others in the order."""
