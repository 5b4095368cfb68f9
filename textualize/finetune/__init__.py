"""Recipe to run folder: `train.py` for every method, `text.py` and `baseline.py` do the work."""
