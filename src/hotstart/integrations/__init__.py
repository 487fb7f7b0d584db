"""Faces of an embedder towards other frameworks: one file for each, which imports it."""
