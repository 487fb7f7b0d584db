"""Measure where the time to the first vector goes."""
