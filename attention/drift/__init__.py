"""Velocities beside that of attention, which do not see the measure.

A new drift is a module with a subclass of ``Drift``, and a key of ``[drift]`` in case files.
"""

from meanformer.attention.drift.base import Drift
from meanformer.attention.drift.linear import LinearDrift
from meanformer.attention.drift.perceptron import Perceptron

__all__ = ["Drift", "LinearDrift", "Perceptron"]
