"""Vectors from remote servers: addresses, protocols, one client, one engine."""
