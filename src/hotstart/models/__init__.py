"""Models at rest: what they are called, where they lie, and how they are made ready to load."""
