"""What is said: transcripts given and words recognised."""
