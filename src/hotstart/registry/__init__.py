"""Many models by name: configured, versioned, routed, reloaded, checked, and kept within memory."""
