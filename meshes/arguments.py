"""What meshes ask of their arguments, told apart before any rank starts to communicate.

Each function raises a ``ValueError`` that names the mesh and the argument.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array


def check_integer(mesh: str, name: str, value: int, least: int) -> None:
    """Refuse what is no integer or below ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{mesh}: {name} is {value!r}; it must be an integer")
    if value < least:
        raise ValueError(f"{mesh}: {name} is {value}; it must be at least {least}")


def check_choice(mesh: str, name: str, value: int, allowed: Sequence[int]) -> None:
    """Refuse what is not among the allowed integers."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value not in allowed:
        choices = ", ".join(map(str, allowed))
        raise ValueError(f"{mesh}: {name} is {value!r}; allowed: {choices}")


def check_perturbation(mesh: str, perturbation: float, seed: int) -> None:
    """Refuse a perturbation outside of [0, 0.3], and a seed that numpy would refuse."""
    if not 0 <= perturbation <= 0.3:
        raise ValueError(f"{mesh}: perturbation is {perturbation}; it must be in [0, 0.3]")
    check_integer(mesh, "seed", seed, 0)


def positive_numbers(mesh: str, name: str, values: float | Sequence[float], count: int) -> Array:
    """One positive number for all, or ``count`` of them: ``shape=(count,)``."""
    array = np.asarray(values, dtype=float)
    if array.shape not in ((), (count,)):
        raise ValueError(f"{mesh}: {name} is {values}; it must be a number or {count} of them")
    if not np.all((array > 0) & np.isfinite(array)):
        raise ValueError(f"{mesh}: {name} is {values}; it must be positive and finite")
    return np.broadcast_to(array, (count,))


def rotation_matrix(mesh: str, rotation: npt.ArrayLike | None, dimension: int) -> Array:
    """The orthogonal matrix that turns all nodes, ``shape=(dimension, dimension)``."""
    identity = np.eye(dimension)
    if rotation is None:
        return identity
    matrix = np.asarray(rotation, dtype=float)
    if matrix.shape != identity.shape or not np.allclose(
        matrix @ matrix.T, identity, rtol=0, atol=1e-12
    ):
        shape = f"({dimension}, {dimension})"
        raise ValueError(f"{mesh}: rotation must be an orthogonal {shape} matrix")
    return matrix
