"""Describe each prediction by blocks of meta-features."""

from ._other_fits import OtherFits

__all__ = ["OtherFits"]
