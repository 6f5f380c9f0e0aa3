"""The model: spaces, laws, the velocity of attention, and the measures it acts on."""

from meanformer.attention.attention import Attention
from meanformer.attention.energy import interaction_energy
from meanformer.attention.evaluator import AttentionDomainError, Evaluator, Field
from meanformer.attention.spaces import Euclidean, Space, Sphere

__all__ = [
    "Attention",
    "AttentionDomainError",
    "Euclidean",
    "Evaluator",
    "Field",
    "Space",
    "Sphere",
    "interaction_energy",
]
