"""Sums of exponentials by Laplace transforms on grids, in linear time."""
