"""What theorems say of late times, and how far tokens are from it."""

from meanformer.theory.clusters import Clusters, clusters, merged

__all__ = [
    "Clusters",
    "clusters",
    "merged",
]
