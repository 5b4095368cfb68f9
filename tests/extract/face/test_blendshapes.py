"""Action units from blendshapes: the table, the person's own neutral, what is not a bundle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.extract.face.action_units import NAMES as LANDMARK_AUS
from textualize.extract.face.blendshapes import DERIVED, check_task, derived

# As MediaPipe's network names them.
ALL = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen",
    "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip


def table(frames: int, **shapes: float) -> NDArray[np.float64]:
    """A person at rest in all frames but the last, which shows the shapes."""
    values = np.full((frames, len(ALL)), 0.05)
    for name, value in shapes.items():
        values[-1, ALL.index(name)] = value
    return values


def test_the_table_names_shapes_that_there_are_and_new_action_units() -> None:
    assert len(ALL) == 52
    assert {n for parts in DERIVED.values() for n in parts} <= set(ALL)
    assert not set(DERIVED) & set(LANDMARK_AUS)


@pytest.mark.parametrize(
    ("shapes", "action"),
    [
        ({"eyeSquintLeft": 0.65, "eyeSquintRight": 0.65}, "AU07"),
        ({"mouthDimpleLeft": 0.65, "mouthDimpleRight": 0.65}, "AU14"),
        ({"mouthRollLower": 0.65}, "AU28"),
    ],
)
def test_a_shape_moves_its_own_action_only(shapes: dict[str, float], action: str) -> None:
    values = derived(table(20, **shapes), ALL)
    assert values.shape == (20, 3) and values.dtype == np.float32
    expected = np.zeros(3)
    expected[list(DERIVED).index(action)] = 0.6
    assert values[-1] == pytest.approx(expected, abs=1e-6)
    assert values[:-1] == pytest.approx(0.0, abs=1e-6)


def test_one_side_counts_half() -> None:
    assert derived(table(20, eyeSquintLeft=0.65), ALL)[-1, 0] == pytest.approx(0.3)


@given(st.floats(0, 0.5))
def test_how_a_person_looks_at_rest_is_no_action(rest: float) -> None:
    values = table(20, mouthRollLower=0.45)
    assert derived(values + rest, ALL) == pytest.approx(derived(values, ALL), abs=1e-6)


def test_missing_pictures_stay_missing() -> None:
    values = table(20, mouthRollLower=0.65)
    values[[0, 3]] = np.nan
    out = derived(values, ALL)
    assert np.flatnonzero(np.isnan(out).any(axis=1)).tolist() == [0, 3]
    assert out[-1, 2] == pytest.approx(0.6)
    assert np.isnan(derived(np.full((4, 52), np.nan), ALL)).all()


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TextualizeError, match="there is no such file; give a face_landmarker"):
        check_task(tmp_path / "none.task")
    with pytest.raises(TextualizeError, match="there is no such file"):
        check_task(tmp_path)
    other = tmp_path / "a.task"
    other.write_bytes(b"TFL3")
    with pytest.raises(TextualizeError, match=r"a\.task is not a \.task bundle"):
        check_task(other)
    with zipfile.ZipFile(other, "w") as bundle:
        bundle.writestr("face_blendshapes.tflite", b"")
    check_task(other)
