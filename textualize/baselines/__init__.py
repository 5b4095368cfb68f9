"""The methods that read features, and the floor everyone must beat.

Shape letters, used in every docstring here: B batch, L steps a clip is pooled to, T frames,
D features of a track, F functionals, C classes, V values, M modalities.
"""
