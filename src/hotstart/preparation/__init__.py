"""From a model folder to an artifact: graph, weights and tokenizer as engines open them."""
