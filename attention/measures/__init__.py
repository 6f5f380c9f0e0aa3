"""Measures to start from: densities, and exact samples from them, side by side.

On the circle and the sphere: ``spheres`` (``circle``); in R^d: ``euclidean``; ``mixture`` of any.
"""

from meanformer.attention.measures.euclidean import Ball, Box, Gaussian
from meanformer.attention.measures.measure import (
    UNIFORMS,
    Measure,
    uniform_numbers,
    uniforms_per_sample,
)
from meanformer.attention.measures.mixture import Mixture
from meanformer.attention.measures.spheres import (
    AngularGaussian,
    PoissonKernel,
    Uniform,
    VonMisesFisher,
    ZonalHarmonic,
)

__all__ = [
    "UNIFORMS",
    "AngularGaussian",
    "Ball",
    "Box",
    "Gaussian",
    "Measure",
    "Mixture",
    "PoissonKernel",
    "Uniform",
    "VonMisesFisher",
    "ZonalHarmonic",
    "uniform_numbers",
    "uniforms_per_sample",
]
