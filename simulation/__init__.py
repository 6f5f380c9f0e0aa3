"""One run: from the case file to solvers, observers and files."""

from meanformer.simulation.case import Case, CaseError

__all__ = ["Case", "CaseError"]
