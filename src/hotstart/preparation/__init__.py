"""Convert a model folder into an artifact: graph, weights and tokenizer."""
