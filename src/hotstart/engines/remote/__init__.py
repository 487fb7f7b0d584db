"""Vectors from other machines: addresses, protocols, one client, one engine."""
