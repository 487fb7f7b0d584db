"""Vectors from other machines: their protocols as data, one client, one engine."""
