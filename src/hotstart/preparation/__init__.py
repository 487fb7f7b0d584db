"""From a model folder to an artifact that an engine opens."""
