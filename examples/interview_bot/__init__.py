"""An interviewer that greets at once, whatever its embedding model is doing at that moment."""
