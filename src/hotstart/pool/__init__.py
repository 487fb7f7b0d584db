"""Readiness: the one place that starts and stops models."""
