"""Diagrams: what many runs of ensembles end in, over the parameters of a model."""
