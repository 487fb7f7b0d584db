"""Load, promote, unload and batch models: the only package that does."""
