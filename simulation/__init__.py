"""One run: from the case file to solvers, observers and files."""

from typing import TYPE_CHECKING, Any

from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError

if TYPE_CHECKING:
    from meanformer.simulation.runner import Result, run
    from meanformer.simulation.studies.convergence import converge

__all__ = ["Case", "CaseError", "Result", "converge", "run"]


def __getattr__(name: str) -> Any:
    """Import the solvers on first use: a case is checked without waiting for them."""
    if name in ("Result", "run"):
        from meanformer.simulation import runner

        return getattr(runner, name)
    if name == "converge":
        from meanformer.simulation.studies.convergence import converge

        return converge
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
