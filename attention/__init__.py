"""The model: spaces, laws, the velocity of attention, and the measures it acts on."""

from meanformer.attention.attention import Attention
from meanformer.attention.backends.backend import AttentionDomainError
from meanformer.attention.backends.plan import Plan
from meanformer.attention.drift import Drift, LinearDrift, Perceptron
from meanformer.attention.energy import InteractionEnergy, energy_gradient, interaction_energy
from meanformer.attention.evaluation.evaluator import Evaluator, Field
from meanformer.attention.heads import Head
from meanformer.attention.rescaled import Rescaled
from meanformer.attention.schedule import Model, RandomLayers, Schedule
from meanformer.attention.spaces import Euclidean, Space, Sphere, UnitVectors

__all__ = [
    "Attention",
    "AttentionDomainError",
    "Drift",
    "Euclidean",
    "Evaluator",
    "Field",
    "Head",
    "InteractionEnergy",
    "LinearDrift",
    "Model",
    "Perceptron",
    "Plan",
    "RandomLayers",
    "Rescaled",
    "Schedule",
    "Space",
    "Sphere",
    "UnitVectors",
    "energy_gradient",
    "interaction_energy",
]
