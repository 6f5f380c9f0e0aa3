"""From a file, or from mappings as Python has them, to the plain data that a case is made of."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meanformer.simulation.case.errors import CaseError


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        CaseError: It cannot be read, or is not TOML; with the line of a syntax error.
    """
    source = str(path)
    try:
        if path.is_dir():
            raise CaseError(["is a folder; must be a TOML file"], source)
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except CaseError:
        raise
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}; must be a TOML file"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text ({error.reason} at byte {error.start}); must be a TOML file"
    except RecursionError:
        problem = "is nested too deeply; must be a TOML file of tables"
    except ValueError as error:
        problem = f"is not TOML: {error}"
    raise CaseError([problem], source)


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
