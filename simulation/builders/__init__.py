"""From a case to the solvers that it describes."""
