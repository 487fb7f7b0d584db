"""Small real programs that use hotstart, each with its tests in `tests/examples/`."""
