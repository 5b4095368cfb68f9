"""A trained text method behind an endpoint: the same prompt, the same label as in training."""
