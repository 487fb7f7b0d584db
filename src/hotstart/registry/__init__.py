"""Many models by name: configuration, versions, routing, reload."""
