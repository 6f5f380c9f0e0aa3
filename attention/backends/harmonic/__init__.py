"""Sums of zonal kernels by harmonics, in linear time."""
