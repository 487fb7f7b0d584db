"""A voice assistant's turn: the embedding is made while the filler is heard."""
