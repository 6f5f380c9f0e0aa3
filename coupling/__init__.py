"""Between the density and the tokens: sampling, and distances between their measures."""

from meanformer.coupling.distances import METRICS, Metric, metrics_on
from meanformer.coupling.distances.harmonic import (
    harmonic_distance,
    independent_noise,
    sampling_noise,
)
from meanformer.coupling.distances.wasserstein import w1, wasserstein
from meanformer.coupling.sampling import sample_density, sample_tokens, share_of

__all__ = [
    "METRICS",
    "Metric",
    "harmonic_distance",
    "independent_noise",
    "metrics_on",
    "sample_density",
    "sample_tokens",
    "sampling_noise",
    "share_of",
    "w1",
    "wasserstein",
]
