"""Stationary densities with noise."""

from meanformer.pde.steady.newton import SteadyState, SteadyStateError, march, newton, residual

__all__ = ["SteadyState", "SteadyStateError", "march", "newton", "residual"]
