"""Models on disk: names, location, description, artifacts."""
