"""Describe each prediction by blocks of meta-features."""

__all__ = []
