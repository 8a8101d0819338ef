"""Helpers of all packages, one subject per file."""
