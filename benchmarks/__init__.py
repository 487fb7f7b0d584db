"""Side-by-side runs of hotstart and its peers; every figure is a ratio taken in one run."""
