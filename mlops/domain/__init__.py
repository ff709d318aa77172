"""Frozen values: what the words of the project mean."""
