"""Prepare an artifact: graph, weights and tokenizer that engines open."""
