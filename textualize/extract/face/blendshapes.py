"""MediaPipe's 52 blendshapes, and the action units among them that landmarks cannot show.

The network that gives them comes in a user's own `face_landmarker.task`. Blendshapes are an
animator's, not FACS: the action units derived are the blendshape above the person's own neutral,
0 to 1, and weak. On 319 frames of real faces (14 sentences) Spearman's rho between blendshapes and
py-feat's action units is 0.73 for AU 7 (within a sentence 0.42), 0.55 for AU 14 (0.08) and 0.40
for AU 28 (0.37). AU 6 and AU 9 are not derived: cheekSquint and noseSneer stay at 0.0000 while
py-feat's AU 6 reaches 0.99; nor is AU 17: mouthShrugLower runs against it (-0.09, within a sentence
-0.29).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from textualize.errors import TextualizeError
from textualize.extract.face.action_units import Float64
from textualize.types import Float32

# Each action unit is the mean of its blendshapes.
DERIVED: Mapping[str, tuple[str, ...]] = {
    "AU07": ("eyeSquintLeft", "eyeSquintRight"),
    "AU14": ("mouthDimpleLeft", "mouthDimpleRight"),
    "AU28": ("mouthRollLower",),
}
_NEUTRAL = 0.1  # the quantile of a person's pictures taken for rest, as blendshapes only add to it


def check_task(path: Path) -> None:
    """Raise TextualizeError unless a file looks like a face landmarker's bundle."""
    given = f"mediapipe:task={path}"
    if not path.is_file():
        raise TextualizeError(f"{given}: there is no such file; give a face_landmarker.task")
    if not zipfile.is_zipfile(path):
        raise TextualizeError(f"{given} is not a .task bundle; give MediaPipe's face_landmarker")


def derived(values: Float64, names: tuple[str, ...]) -> Float32:
    """Return the action units of `DERIVED`, (N, 3), from one person's blendshapes (N, 52).

    NaN where a blendshape is missing; 0 is the person's own neutral.

    >>> names = tuple(n for parts in DERIVED.values() for n in parts)
    >>> derived(np.array([[0, 0, 0, 0, 0.25], [0.625, 0.625, 0, 0, 0.25]]), names)[1].tolist()
    [0.5625, 0.0, 0.0]
    """
    out = np.full((len(values), len(DERIVED)), np.nan)
    for j, parts in enumerate(DERIVED.values()):
        mean = values[:, [names.index(n) for n in parts]].mean(axis=1)
        known = np.isfinite(mean)
        if known.any():
            rest = np.quantile(mean[known], _NEUTRAL)
            out[known, j] = np.maximum(mean[known] - rest, 0.0)
    return out.astype(np.float32)
