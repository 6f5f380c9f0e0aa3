"""Late times: theorems with their hypotheses, and what measures how far tokens are from limits."""

from meanformer.theory.attention_matrix import boolean_rows, numerical_rank, numerical_ranks
from meanformer.theory.clusters import (
    Clusters,
    clusters,
    merged,
    relative_linkage,
    relative_linkages,
)
from meanformer.theory.hulls import Hull
from meanformer.theory.spectrum import Leading, leading
from meanformer.theory.system_clusters import SystemClusters, system_clusters
from meanformer.theory.theorems import THEOREMS, predictions
from meanformer.theory.theorems.base import Deviation, Prediction, Theorem

__all__ = [
    "THEOREMS",
    "Clusters",
    "Deviation",
    "Hull",
    "Leading",
    "Prediction",
    "SystemClusters",
    "Theorem",
    "boolean_rows",
    "clusters",
    "leading",
    "merged",
    "numerical_rank",
    "numerical_ranks",
    "predictions",
    "relative_linkage",
    "relative_linkages",
    "system_clusters",
]
