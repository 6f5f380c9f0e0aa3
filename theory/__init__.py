"""What theorems say of late times, and how far tokens are from it."""

from meanformer.theory.clusters import Clusters, clusters, merged
from meanformer.theory.hulls import Hull

__all__ = [
    "Clusters",
    "Hull",
    "clusters",
    "merged",
]
