"""The laws of attention, one a module.

A new law is a module with a class, and a line in ``LAWS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from meanformer.attention.laws.base import Law
from meanformer.attention.laws.feature_map import FeatureMap
from meanformer.attention.laws.hardmax import Hardmax
from meanformer.attention.laws.l2 import L2
from meanformer.attention.laws.linear import Linear
from meanformer.attention.laws.sigmoid import Sigmoid
from meanformer.attention.laws.sinkhorn import Sinkhorn
from meanformer.attention.laws.softmax import Softmax
from meanformer.attention.laws.unnormalised import Unnormalised

__all__ = ["LAWS", "PARAMETERS", "Law", "LawName"]

#: The laws by name.
LAWS: dict[str, type[Law]] = {
    "softmax": Softmax,
    "unnormalised": Unnormalised,
    "linear": Linear,
    "l2": L2,
    "sigmoid": Sigmoid,
    "sinkhorn": Sinkhorn,
    "hardmax": Hardmax,
    "feature-map": FeatureMap,
}

#: The parameters that one law alone has: its name, and the field of its dataclass.
PARAMETERS = {field.name: (name, field) for name, law in LAWS.items() for field in law.parameters()}

if TYPE_CHECKING:
    LawName = str
else:
    LawName = Literal[tuple(LAWS)]
