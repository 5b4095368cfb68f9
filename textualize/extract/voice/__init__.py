"""How it is said: pitch, loudness, tempo, voice quality, affect."""
