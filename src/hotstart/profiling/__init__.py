"""Where the time goes on the way to the first vector, measured in fresh processes."""
