"""Sums over the past: each target sees the points that come before it."""
