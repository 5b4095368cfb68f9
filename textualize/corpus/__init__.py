"""What one does with a corpus besides training: check, show, split, export, share, import."""
