"""Between the density and the tokens: sampling, and distances between their measures."""

from meanformer.coupling.harmonic_distance import (
    calibrate,
    harmonic_distance,
    independent_noise,
    sampling_noise,
)
from meanformer.coupling.replicas import TokenReplicas
from meanformer.coupling.sampling import sample_density, sample_tokens, share_of
from meanformer.coupling.wasserstein import wasserstein

__all__ = [
    "TokenReplicas",
    "calibrate",
    "harmonic_distance",
    "independent_noise",
    "sample_density",
    "sample_tokens",
    "sampling_noise",
    "share_of",
    "wasserstein",
]
