"""Harmonic analysis and synthesis at scattered points of the circle and the sphere."""
