"""Discontinuous Galerkin elements: transport, diffusion, limiter, and the solver."""
