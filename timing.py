"""The wall time that a solver spends in its parts."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def timed(
    function: Callable[_Arguments, _Result], wall_time: dict[str, float], part: str
) -> Callable[_Arguments, _Result]:
    """The function, whose seconds are added to ``wall_time[part]``, which starts at zero."""
    wall_time[part] = 0.0

    def run(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        began = perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            wall_time[part] += perf_counter() - began

    return run
