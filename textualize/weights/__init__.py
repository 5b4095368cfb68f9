"""Model weights: what can be fetched, where it is kept, how it comes onto the machine."""
