"""Meanformer: mean-field dynamics of self-attention, as a density and as tokens."""

__version__ = "0.1.0"
