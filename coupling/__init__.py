"""Between the density and the tokens: sampling, and distances between their measures."""

from meanformer.coupling.harmonic_distance import harmonic_distance, sampling_noise
from meanformer.coupling.replicas import TokenReplicas
from meanformer.coupling.sampling import sample_density, sample_tokens, share_of
from meanformer.coupling.wasserstein import wasserstein

__all__ = [
    "TokenReplicas",
    "harmonic_distance",
    "sample_density",
    "sample_tokens",
    "sampling_noise",
    "share_of",
    "wasserstein",
]
