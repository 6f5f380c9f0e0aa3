"""Between the density and the tokens: sampling, and distances between their measures."""

from meanformer.coupling.harmonic_distance import harmonic_distance
from meanformer.coupling.sampling import sample_density, sample_tokens
from meanformer.coupling.wasserstein import wasserstein

__all__ = ["harmonic_distance", "sample_density", "sample_tokens", "wasserstein"]
