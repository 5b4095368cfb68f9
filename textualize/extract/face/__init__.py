"""Faces: who is seen, where, and what their muscles do."""
