"""One run: from the case file to solvers, observers and files."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError

if TYPE_CHECKING:
    from meanformer.simulation.runner import Result, run
    from meanformer.simulation.studies.convergence import converge

__all__ = ["Case", "CaseError", "Result", "converge", "run"]
_SLOW_TO_IMPORT = {"Result": "runner", "run": "runner", "converge": "studies.convergence"}


def __getattr__(name: str) -> Any:
    """Import the solvers on first use: a case is checked without waiting for them."""
    if name not in _SLOW_TO_IMPORT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_SLOW_TO_IMPORT[name]}"), name)
