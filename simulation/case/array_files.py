"""Arrays of numbers in files: ``.npy``, ``.npz:NAME``, ``.csv``, ``.safetensors:NAME``.

Nothing is ever unpickled, and what can be is mapped, not read. The library safetensors has no
bfloat16 in numpy; its format is a length, a header in JSON, and the numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

_Array = npt.NDArray[Any]
#: Endings of files that hold arrays by name.
ARCHIVES = (".npz", ".safetensors")
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_DTYPES |= {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1"}


class ArrayFileError(ValueError):
    """A file cannot be read as an array of numbers; the message says why."""


def read_array(place: str) -> _Array:
    """The array in a file, of its own type.

    Args:
        place: The file, for an archive with ``:NAME`` behind it. What is neither an archive nor
            ``.csv`` is taken for ``.npy``.

    Raises:
        ArrayFileError: If there is none, or it is not of real numbers.
    """
    path, name = place, ""
    if any(f"{suffix}:" in place for suffix in ARCHIVES):
        path, name = place.rsplit(":", 1)
    suffix = os.path.splitext(path)[1].lower()
    if suffix in ARCHIVES and not name:
        raise ArrayFileError(f"{path} names no array of the archive; must be {path}:NAME")
    try:
        array = _READERS.get(suffix, _npy)(path, name)
    except OSError as error:
        raise ArrayFileError(f"cannot read {path}: {error.strerror or error}") from None
    except ArrayFileError:
        raise
    except (ValueError, EOFError, SyntaxError, TypeError, KeyError, BadZipFile):
        raise ArrayFileError(f"{path} holds no array of numbers") from None
    if array.dtype.kind not in "fiu":
        raise ArrayFileError(f"{path} holds values of type {array.dtype}")
    return array


def _npy(path: str, name: str) -> _Array:
    array: _Array = open_memmap(path, mode="r")
    return array


def _npz(path: str, name: str) -> _Array:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        _find(path, name, archive.files)
        array: _Array = archive[name]
        return array


def _csv(path: str, name: str) -> _Array:
    """A first line of words is passed over."""
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if line.strip() and not line.startswith("#")]
    rows = lines[1:] if lines and not _is_number(lines[0].split(",")[0]) else lines
    return np.array([row.split(",") for row in rows], dtype=float)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _safetensors(path: str, name: str) -> _Array:
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > os.path.getsize(path):
            raise ValueError("no header")
        header = json.loads(file.read(size))
    _find(path, name, (key for key in header if key != "__metadata__"))
    entry = header[name]
    dtype, offset = entry["dtype"], 8 + size + int(entry["data_offsets"][0])
    if dtype not in _DTYPES:
        raise ArrayFileError(f"{path}:{name} holds values of type {dtype}")
    array: _Array = np.memmap(path, _DTYPES[dtype], "r", offset, tuple(entry["shape"]))
    if dtype == "BF16":  # the upper half of a number in single precision
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array


def _find(path: str, name: str, names: Iterable[str]) -> None:
    """Refuse a name that is not there."""
    there = sorted(names)
    if name not in there:
        raise ArrayFileError(f"{path} has no array {name!r}; it has: {', '.join(there)}")


_READERS: dict[str, Callable[[str, str], _Array]] = {
    ".npz": _npz,
    ".csv": _csv,
    ".safetensors": _safetensors,
}
