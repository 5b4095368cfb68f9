"""The methods that read words: an encoder with a head, a causal model that scores its answers."""
