"""What theorems say of late times, and how far tokens are from it."""

from meanformer.theory.attention_matrix import boolean_rows, numerical_rank
from meanformer.theory.clusters import Clusters, clusters, merged
from meanformer.theory.hulls import Hull
from meanformer.theory.spectrum import Leading, leading

__all__ = [
    "Clusters",
    "Hull",
    "Leading",
    "boolean_rows",
    "clusters",
    "leading",
    "merged",
    "numerical_rank",
]
