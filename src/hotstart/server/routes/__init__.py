"""The routes, each file a face that some client knows."""
