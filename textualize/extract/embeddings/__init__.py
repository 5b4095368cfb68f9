"""Vectors of any `transformers` model, one per window of time."""
