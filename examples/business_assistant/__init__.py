"""A business assistant that can be asked at once, whatever its models are doing."""
