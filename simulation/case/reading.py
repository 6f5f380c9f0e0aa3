"""The plain data that a case is made of: from a file or mappings, with overrides of its keys."""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meanformer.simulation.case.errors import CaseError, join

_SEGMENT = re.compile(r"([A-Za-z0-9_-]+)((?:\[\d+\])*)")
_NAMES: dict[type, str] = {list: "list", dict: "table"}
_FORM = "must be table.key=value"
_SOLVERS = (["pde"], ["particles"])  # tables that a case may lack


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        CaseError: It cannot be read, or is not TOML; with the line of a syntax error.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except IsADirectoryError:
        problem = "is a folder; must be a TOML file"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}; must be a TOML file"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text ({error.reason} at byte {error.start}); must be a TOML file"
    except RecursionError:
        problem = "is nested too deeply; must be a TOML file of tables"
    except ValueError as error:
        problem = f"is not TOML: {error}"
    raise CaseError([problem], str(path))


def plain(value: Any) -> Any:
    """Mappings as dictionaries, NumPy arrays as lists, NumPy numbers and paths as plain ones."""
    match value:
        case Mapping():
            return {key: plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [plain(entry) for entry in value]
        case np.ndarray() | np.generic():
            return value.tolist()
        case os.PathLike():
            return os.fspath(value)
        case _:
            return value


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> None:
    """Set keys of a parsed case file in place; a table that is missing is created.

    A value is read as TOML, and as a bare string where it is not TOML. A path may enter a list:
    ``initial.components[0].weight=2``. ``pde=none`` and ``particles=none`` leave that table out and
    with it ``[compare]``, which needs both.

    Args:
        data: The parsed file.
        overrides: Such as ``["pde.refinement=5", "time.step=auto", "compare.metrics=['w1']"]``.

    Raises:
        CaseError: An override has no ``=``, no key, or a path that leads nowhere; it is quoted.
    """
    problems = []
    for override in overrides:
        try:
            path, text = _split(override)
            if path in _SOLVERS and text == "none":
                for table in (str(path[0]), "compare"):
                    data.pop(table, None)
            else:
                _assign(data, path, value_of(text))
        except ValueError as error:
            problems.append(f"override {override!r}: {error}")
    if problems:
        raise CaseError(problems, "command line")


def value_of(text: str) -> object:
    """The TOML value that ``text`` spells, or ``text`` itself."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if len(document) == 1 else text


def _split(override: str) -> tuple[list[str | int], str]:
    """The path, names and list indices, and the text of the value."""
    key, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"no '='; {_FORM}")
    path: list[str | int] = []
    for segment in key.strip().split("."):
        match = _SEGMENT.fullmatch(segment.strip())
        if match is None:
            raise ValueError(f"{key.strip()!r} is not a key; {_FORM}")
        path += [match[1], *(int(index) for index in re.findall(r"\d+", match[2]))]
    return path, text.strip()


def _assign(data: dict[str, Any], path: list[str | int], value: object) -> None:
    """Set ``data`` at ``path``, creating tables on the way."""
    place: Any = data
    where = ""
    for depth, step in enumerate(path):
        wanted: type[Any] = list if isinstance(step, int) else dict
        if not isinstance(place, wanted):
            raise ValueError(f"'{where}' is not a {_NAMES[wanted]}; {_FORM}")
        if isinstance(step, int) and step >= len(place):
            raise ValueError(f"'{where}' has {len(place)} entries, counted from 0")
        if depth == len(path) - 1:
            place[step] = value
            return
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
        where = join(where, f"[{step}]" if isinstance(step, int) else step)
