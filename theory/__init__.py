"""What theorems say of late times, and how far tokens are from it."""

from meanformer.theory.attention_matrix import boolean_rows, numerical_rank
from meanformer.theory.clusters import Clusters, clusters, merged
from meanformer.theory.hulls import Hull

__all__ = [
    "Clusters",
    "Hull",
    "boolean_rows",
    "clusters",
    "merged",
    "numerical_rank",
]
