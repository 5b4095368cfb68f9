import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from textualize import speakers
from textualize.describe import caption, describe
from textualize.errors import TextualizeError
from textualize.finetune.recipe import load_recipe
from textualize.prompt import render
from textualize.types import Clip, Record, Status, Track
from textualize.wording import ladder

VOICE_COLUMNS = tuple(dict.fromkeys(h.column for h in ladder.VOICE if h.track == "prosody"))
EMOTIONS = "anger angry disgust fear afraid happy joy sad surprise calm neutral"
scores = st.floats(-6, 6, allow_nan=False)


def read(text):
    """The level a text of rungs says, by its subject; what a reader has to go on."""
    subject = text.split()[0]
    said = [w for w in re.sub(r",.*", "", text).split() if w != subject]
    for sign, words in ((1, ladder.MORE), (-1, ladder.LESS)):
        if tuple(said) == words[: len(said)]:
            return subject, sign * len(said)
    raise AssertionError(text)


def someone(values, names=("AU01", "AU12"), rows=1, **tracks):
    """One person's clips, each of whose action units is steady."""
    made = [
        Record(
            Clip(f"c{i}", None, subject="p", label="angry"),
            {"aus": Track(np.tile(np.float32(v), (rows, 1)), 10.0, 0.0, names, "intensity", "of")}
            | {name: track[i] for name, track in tracks.items()},
        )
        for i, v in enumerate(values)
    ]
    return speakers.attach(made)


def voice(level, n=200):
    wave = np.sin(np.arange(n))[:, None] + np.float32(level)
    values = np.repeat(wave, len(VOICE_COLUMNS), 1).astype(np.float32)
    values[:, VOICE_COLUMNS.index("voiced")] = 1
    return Track(values, 100.0, 0.0, VOICE_COLUMNS, "named", "prosody")


# --- levels and rungs


@given(scores)
def test_the_level_read_back_is_the_level_said(z):
    at = ladder.level(z)
    if at:
        assert read(ladder.rungs("AU4", at)) == ("AU4", at)


@given(scores, scores)
def test_a_higher_number_is_never_on_a_lower_level(a, b):
    low, high = sorted((a, b))
    assert ladder.level(low) <= ladder.level(high)
    assert ladder.level(-a) == -ladder.level(a)


@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from((1, -1)))
def test_words_in_common_grow_with_likeness(a, b, sign):
    first, second = (set(ladder.rungs("AU4", sign * x).split()) for x in (a, b))
    assert len(first & second) == 1 + min(a, b)
    across = set(ladder.rungs("AU4", -sign * b).split())
    assert first & across == {"AU4"}


def test_the_levels_are_equally_frequent_in_a_normal_distribution():
    z = norm.ppf(np.linspace(0, 1, 7001)[1:-1])
    _, counts = np.unique([ladder.level(x) for x in z], return_counts=True)
    assert len(counts) == 7
    assert np.ptp(counts) < 0.05 * counts.mean()


def test_what_cannot_be_told_is_as_usual():
    assert ladder.level(float("nan")) == 0


def test_subjects_are_told_apart_and_judge_nothing():
    subjects = [h.subject for h in ladder.VOICE]
    assert len(set(subjects)) == len(subjects)
    assert all(re.fullmatch("[a-z]+", s) for s in subjects)
    assert not set(subjects) & set(EMOTIONS.split())
    assert not set(subjects) & set(ladder.MORE + ladder.LESS)


# --- cues


@given(st.lists(st.floats(0, 5, width=32), min_size=5, max_size=8))
def test_each_action_units_words_are_its_own_level(values):
    names = ("AU01", "AU12")
    for record in someone([[v, 5 - v] for v in values], names):
        cues = describe(record, ("face",), "graded")
        z = speakers.relative(record, "aus")[0]
        expected = {n: ladder.level(float(x)) for n, x in zip(("AU1", "AU12"), z, strict=True)}
        said = dict(read(c.text) for c in cues if c.state == "observed")
        assert said == {n: at for n, at in expected.items() if at}
        assert {c.source for c in cues} == {"of"}


def test_the_furthest_from_usual_comes_first_and_all_are_named():
    names = tuple(f"AU{i:02d}" for i in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26))
    usual = [[1.0 + 0.1 * k * (i + 1) for i in range(16)] for k in (-1, 0, 1, 0)]
    records = someone([*usual, [4.0 - 0.1 * i for i in range(16)]], names)
    levels = [abs(read(c.text)[1]) for c in describe(records[-1], ("face",), "graded")]
    assert len(levels) == 16
    assert levels == sorted(levels, reverse=True)


def test_an_action_of_a_moment_keeps_its_time_and_span():
    values = np.zeros((90, 2), np.float32)
    values[60:80, 1] = 4.0
    moving = Track(values, 10.0, 0.0, ("AU01", "AU12"), "intensity", "of")
    still = [Track(0 * values, 10.0, 0.0, moving.names, "intensity", "of")] * 4
    made = [
        Record(Clip(str(i), None, subject="p"), {"aus": t}) for i, t in enumerate([moving, *still])
    ]
    (cue,) = describe(speakers.attach(made)[0], ("face",), "graded")
    assert cue.text.startswith("AU12 more AU12 much AU12 most, ")
    assert (cue.span.start, cue.span.end) == pytest.approx((6.0, 8.0))


def test_a_face_as_usual_says_so():
    (cue,) = describe(someone([[1, 1]] * 5)[0], ("face",), "graded")
    assert (cue.state, cue.text) == ("neutral", "face as usual, no action unit stands out")


def test_a_voice_is_worded_by_every_number_that_was_measured():
    record = someone([[1, 1]] * 5, prosody=[voice(x) for x in (1, 1, 1.2, 0.8, 4)])[-1]
    cues = describe(record, ("prosody",), "graded")
    subjects = [c.text.split()[0] for c in cues]
    assert subjects == [h.subject for h in ladder.VOICE if h.track == "prosody"]
    assert "pitch more pitch much pitch most" in [c.text for c in cues]
    assert {c.state for c in cues} == {"observed", "neutral"}
    assert "as usual" not in caption(cues, "graded")


def test_without_the_usual_it_is_terse():
    alone = Record(
        Clip("c", None), {"aus": someone([[4, 0]] * 5)[0].tracks["aus"], "prosody": voice(19)}
    )
    assert describe(alone, register="graded") == describe(alone)
    assert caption(describe(alone, register="graded"), "graded") == caption(describe(alone))


def test_a_voice_of_which_a_part_has_no_usual_is_terse():
    record = someone([[1, 1]] * 5, prosody=[voice(x) for x in (1, 1, 1.2, 0.8, 4)])[-1]
    model = Track(np.array([[0.9]], np.float32), 1.0, 0.0, ("arousal",), "named", "model")
    both = Record(record.clip, {**record.tracks, "affect": model}, speaker=record.speaker)
    texts = [c.text for c in describe(both, ("prosody",), "graded")]
    assert texts == [c.text for c in describe(both, ("prosody",))]
    assert "arousal very high" in texts


def test_missing_modalities_have_their_states_in_it_too():
    record = Record(Clip("c", None), status={"face": Status("failed", "s", "boom")})
    states = [c.state for c in describe(record, register="graded")]
    assert states == ["failed", "not_run", "not_run"]


def test_no_voice_is_not_graded():
    silent = voice(1)
    silent.values[:, VOICE_COLUMNS.index("voiced")] = 0
    record = someone([[1, 1]] * 5, prosody=[voice(1)] * 4 + [silent])[-1]
    assert [c.text for c in describe(record, ("prosody",), "graded")] == ["no voice heard"]


def test_no_label_id_or_actor_is_said():
    for record in someone([[1, 4], [2, 2], [4, 1], [0, 0], [3, 3]]):
        text = render(record, register="graded").text
        assert "angry" not in text
        assert record.clip.id not in text


# --- recipes


def test_a_recipe_may_ask_for_it():
    assert load_recipe("bag-of-words", ["wording=graded"]).wording == "graded"
    with pytest.raises(TextualizeError, match="wording"):
        load_recipe("bag-of-words", ["wording=ladder"])
