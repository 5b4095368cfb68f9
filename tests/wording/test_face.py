from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize import speakers
from textualize.describe import caption, describe
from textualize.types import Clip, Record, Status, Track

RATE = 10.0


def track(values, names=("AU01", "AU12"), unit="probability", rate=RATE):
    rows = np.asarray(values, np.float32).reshape(-1, len(names))
    return Track(rows, rate, 0.0, names, unit, "sensor")


def moving(seconds=9.0, unit="probability", rest=0.0, **spans):
    """A track whose columns are 0.95 (4 for intensities) in their span and `rest` elsewhere."""
    values = np.full((round(seconds * RATE), len(spans)), rest, np.float32)
    for column, (start, end) in enumerate(spans.values()):
        values[round(start * RATE) : round(end * RATE), column] = 4 if unit == "intensity" else 0.95
    return track(values, tuple(spans), unit)


def face(aus, register="terse", status=None, **tracks):
    record = Record(Clip("c", None), {"aus": aus} | tracks, status=status or {})
    return describe(record, ("face",), register)


def texts(*args, **kwargs):
    return [cue.text for cue in face(*args, **kwargs)]


# --- strength and time


def test_an_action_has_a_strength_and_a_time():
    given_track = moving(AU12=(0, 9), AU04=(8.6, 9), AU45=(3, 4))
    assert sorted(texts(given_track)) == [
        "blink (AU45) strong, in the middle",
        "brow lowerer (AU4) strong, briefly at the end",
        "lip corner puller (AU12) strong, throughout",
    ]


def test_what_is_brief_is_not_also_called_weak():
    (long,) = texts(moving(seconds=60, AU12=(30, 31)))
    assert long == "lip corner puller (AU12) strong, in the middle"


def test_a_single_bad_frame_is_not_worded():
    values = np.zeros((90, 2), np.float32)
    values[40, 0] = 1.0
    (cue,) = face(track(values))
    assert cue.state == "neutral"


@given(st.integers(0, 60), st.floats(0.55, 1.0))
def test_the_words_do_not_depend_on_when_the_clip_begins(shift, level):
    values = np.zeros((90, 2), np.float32)
    values[shift : shift + 12, 1] = level
    here = track(values)
    there = Track(here.values, RATE, 1234.0, here.names, here.unit, here.source)
    assert texts(here) == texts(there)
    assert face(there)[0].span.start == pytest.approx(1234 + shift / RATE)


def test_presence_says_when_in_place_of_how_often():
    values = np.zeros((90, 2), np.float32)
    values[60:, 1] = 1
    assert texts(track(values, unit="presence")) == ["lip corner puller (AU12) at the end"]
    assert texts(track([[0, 1]] * 5, unit="presence")) == ["lip corner puller (AU12) throughout"]


def test_a_track_of_few_rows_says_nothing_about_time():
    assert texts(track([[0.1, 0.95]] * 5)) == ["lip corner puller (AU12) strong"]


# --- compounds


def test_what_is_shown_together_is_listed_once_with_all_numbers():
    assert texts(moving(AU01=(3, 6), AU02=(3, 6))) == [
        "brows raised (AU1+AU2) strong, in the middle"
    ]
    three = texts(moving(AU01=(3, 6), AU02=(3, 6), AU04=(3, 6)))
    assert three == ["brows raised and drawn together (AU1+AU2+AU4) strong, in the middle"]


def test_what_is_shown_one_after_the_other_is_no_compound():
    assert len(texts(moving(AU01=(0, 3), AU02=(5, 8)))) == 2


def test_a_trace_beside_a_strong_action_is_no_compound():
    values = np.tile(np.array([0.95, 0.55], np.float32), (30, 1))
    assert len(texts(track(values, ("AU01", "AU02")))) == 2


@pytest.mark.parametrize("order", permutations(("AU01", "AU02", "AU04")))
def test_compounds_do_not_depend_on_the_columns_order(order):
    ordered = moving(**dict.fromkeys(order, (0, 9)))
    assert texts(ordered) == ["brows raised and drawn together (AU1+AU2+AU4) strong, throughout"]


def test_the_mean_of_a_clip_cannot_tell_what_was_together():
    assert len(texts(track([[4, 4]], ("AU06", "AU12"), "intensity", rate=0.3))) == 2
    assert len(texts(track([[4, 4]], ("AU06", "AU12"), "intensity", rate=12.5))) == 1


def test_less_than_usual_is_no_compound():
    def clip(value):
        return Record(Clip(str(value), None, subject="p"), {"aus": track([[value] * 2], BROWS)})

    low, *_, high = speakers.attach([clip(v) for v in (0.1, 0.5, 0.5, 0.5, 0.9)])
    assert len(describe(low, ("face",))) == 2
    (cue,) = describe(high, ("face",))
    assert cue.text == "brows raised (AU1+AU2) more than usual"


BROWS = ("AU01", "AU02")


# --- sides


@pytest.mark.parametrize("names", [("AU12L", "AU12R"), ("AU12_L", "AU12_R"), ("L12", "R12")])
@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (0.8, 0.1, "left lip corner puller (L12) clear"),
        (0.1, 0.8, "right lip corner puller (R12) clear"),
        (0.8, 0.7, "lip corner puller (AU12) clear"),
        (0.95, 0.9, "lip corner puller (AU12) strong"),
    ],
)
def test_a_side_is_named_when_it_acts_alone(names, left, right, said):
    assert texts(track([[left, right]], names)) == [said]
    assert texts(track([[right, left]], names[::-1])) == [said]


def test_a_stronger_side_is_said():
    cues = texts(track([[4.5, 2.0]], ("AU12L", "AU12R"), "intensity"))
    assert cues == ["lip corner puller (AU12) strong, stronger on the left"]
    clauses = texts(track([[2.0, 4.5]], ("AU12L", "AU12R"), "intensity"), register="sentences")
    assert clauses == ["the lip corners are pulled up strongly, stronger on the right"]


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (0.6, 0.05, "left lip corner puller (L12) strong"),
        (0.2, 0.6, "lip corner puller (AU12) strong, stronger on the right"),
        (0.6, 0.5, "lip corner puller (AU12) strong"),
        (np.nan, 0.5, "lip corner puller (AU12) strong"),
    ],
)
def test_blendshapes_tell_the_side_of_an_action_that_has_none(left, right, said):
    shapes = track([[left, right]], ("mouthSmileLeft", "mouthSmileRight"))
    assert texts(track([[0.0, 0.95]]), blendshapes=shapes) == [said]


def test_one_side_alone_in_the_table_is_worded_as_that_side():
    assert texts(track([[0.95]], ("AU14R",))) == ["right dimpler (R14) strong"]


def test_different_sides_are_no_compound():
    names = ("AU01L", "AU01R", "AU02L", "AU02R")
    assert len(texts(track([[0.95, 0, 0, 0.95]], names))) == 2
    assert texts(track([[0.95, 0, 0.95, 0]], names)) == ["left brows raised (L1+L2) strong"]


# --- sentences


def test_sentences_read_like_a_person():
    given_track = moving(AU12=(0, 9), AU02=(8.6, 9), AU43=(0, 2))
    line = caption(face(given_track, "sentences"), "sentences")
    assert set(line.rstrip(".").lower().split("; ")) == {
        "the outer brows are raised strongly but briefly at the end",
        "the lip corners are pulled up strongly throughout",
        "the eyes are closed strongly at the start",
    }


def test_what_is_shown_alike_shares_a_clause():
    (cue,) = face(moving(AU12=(3, 6), AU43=(3, 6)), "sentences")
    assert cue.text in (
        "the lip corners are pulled up and the eyes are closed strongly in the middle",
        "the eyes are closed and the lip corners are pulled up strongly in the middle",
    )
    assert (cue.span.start, cue.span.end) == pytest.approx((3.0, 6.0))


def test_a_face_at_rest_is_said_in_either_register():
    calm = track([[0.1, 0.1]])
    assert texts(calm) == ["face at rest, no action unit active"]
    assert texts(calm, "sentences") == ["the face is at rest"]


# --- several people


def several(reason, speaking=None):
    status = {"face": Status("observed", "mediapipe", reason)}
    seen = {} if speaking is None else {"face": track([[speaking]], ("speaking",), "named")}
    return face(track([[0.1, 0.95]]), status=status, **seen)


def test_of_several_people_it_is_said_who_is_described():
    first, _ = several("face in 9 of 9 frames; 2 people seen; speaker: person 1", 0.9)
    assert (first.text, first.state) == (
        "two people visible, the one speaking is described",
        "observed",
    )
    first, _ = several("14 people seen; largest: person 3", np.nan)
    assert (first.text, first.state) == (
        "14 people visible, one of them is described",
        "uncertain",
    )
    assert len(several("face in 9 of 9 frames", 0.9)) == 1


def test_nothing_of_a_reason_but_the_count_is_said():
    cues = several("/data/anger/02.mp4: 3 people seen; speaker: person anger", 0.1)
    assert not any("anger" in cue.text for cue in cues)
