"""Inspect the base classifier, fit it, cross-fit it, predict with it, and delegate to it."""
