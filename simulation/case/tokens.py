"""Tokens given one by one, in place of an initial density."""

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap
from pydantic import AfterValidator, ValidationInfo, model_validator

from meanformer.arrays import Array
from meanformer.simulation.case.errors import refusal
from meanformer.simulation.case.space import Points, space_in
from meanformer.simulation.case.types import Path, Table

_UNIT_TOLERANCE = 1e-6  # how far the norm of a given token may be from 1


def _readable(path: str) -> str:
    need = "must be a .npy file of numbers, one row a token, at least one"
    try:
        tokens = open_memmap(path, mode="r")  # never unpickles
    except OSError as error:
        raise refusal(f"cannot read {path}: {error.strerror or error}; {need}") from None
    except (ValueError, EOFError, SyntaxError):
        raise refusal(f"{path} holds no array of numbers; {need}") from None
    if tokens.dtype.kind not in "fiu":
        raise refusal(f"{path} holds values of type {tokens.dtype}; {need}")
    return path


class Tokens(Table):
    """Given tokens, each of weight 1/n, from a file or written out: for runs without ``[pde]``."""

    spaces: ClassVar = ("sphere", "euclidean")
    kind: Literal["tokens"] = "tokens"
    file: Annotated[Path, AfterValidator(_readable)] | None = None
    """A ``.npy`` file of ``shape=(n, d)``, relative to the case file."""
    points: Points | None = None
    """The tokens themselves, ``shape=(n, d)``: unit vectors on the sphere."""

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
        tokens: npt.NDArray[Any] = open_memmap(self.file, mode="r")  # never unpickles
        return tokens

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
            need = f"must be a finite unit vector to {_UNIT_TOLERANCE:g}"
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
