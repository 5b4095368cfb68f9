import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize import speakers
from textualize.describe import caption, describe
from textualize.types import Clip, Record, Track
from textualize.wording.voices import VOICES

COLUMNS = ("f0_st", "energy_db", "voiced", "hnr_db", "tilt_db", "centroid_hz")
RATE_COLUMNS = (
    "articulation_per_s",
    "pauses",
    "longest_pause_s",
    "final_slope_st_s",
    "speech_fraction",
)


def voice(f0=19.0, energy=-45.0, hnr=9.0, tilt=9.0, centroid=1000.0, n=300, **more):
    """A voice in the middle of every range, unless told otherwise; each is a number or (n,)."""
    wobble = 4.0 * np.sin(np.arange(n))
    given_columns = {"f0_st": f0 + wobble, "energy_db": energy + 6 * wobble, "voiced": 1.0}
    given_columns |= {"hnr_db": hnr, "tilt_db": tilt, "centroid_hz": centroid} | more
    values = [np.broadcast_to(np.asarray(c, np.float32), n) for c in given_columns.values()]
    return Track(np.stack(values, 1), 100.0, 0.0, tuple(given_columns), "named", "prosody")


def rate(articulation=4.0, pauses=0, longest=0.0, slope=0.0, speech=np.nan):
    row = np.array([[articulation, pauses, longest, slope, speech]], np.float32)
    return Track(row, 1.0, 0.0, RATE_COLUMNS, "named", "prosody")


def heard(register="terse", **tracks):
    return describe(Record(Clip("c", None), tracks), ("prosody",), register)


def texts(*args, **tracks):
    return [cue.text for cue in heard(*args, **tracks)]


def test_a_person_would_say_it_so():
    cues = heard(
        "sentences",
        prosody=voice(f0=26.0, energy=-42.0),
        speech_rate=rate(5.0, 2, 0.8, 9.0),
    )
    assert caption(cues, "sentences") == (
        "Speaks loudly and fast, pitch high, rising at the end, two long pauses."
    )


def test_against_the_usual_is_said_once_a_clause():
    levels = (18.0, 18.2, 18.4, 18.1, 24.0)
    made = [Record(Clip(str(f), None, subject="p"), {"prosody": voice(f0=f)}) for f in levels]
    cues = describe(speakers.attach(made)[-1], ("prosody",), "sentences")
    pitch = next(c.text for c in cues if c.text.startswith("pitch"))
    assert pitch.startswith("pitch much higher")
    assert pitch.count("than usual") == 1


def test_a_middling_voice_is_unremarkable_in_every_clause():
    cues = heard("sentences", prosody=voice(), speech_rate=rate())
    assert {cue.state for cue in cues} == {"neutral"}
    assert caption(cues, "sentences") == "Nothing stands out."


@pytest.mark.parametrize("register", ["terse", "sentences"])
@pytest.mark.parametrize("entry", VOICES, ids=lambda v: v.column + v.functional)
def test_each_word_of_each_range_can_be_said(entry, register):
    said = [entry.said(word) for word in entry.words]
    assert len(set(said)) == 5
    assert all(said)


# --- change over the clip


@pytest.mark.parametrize(
    ("column", "drift", "terse", "sentence"),
    [
        ("f0", 4.0, "pitch rising over time", "pitch rising over time"),
        ("f0", -12.0, "pitch sinking over time", "pitch sinking over time"),
        ("energy", 8.0, "loudness growing over time", "louder and louder"),
        ("energy", -14.0, "loudness fading over time", "more and more quietly"),
    ],
)
def test_what_moves_over_the_clip_is_said(column, drift, terse, sentence):
    middle = {"f0": 19.0, "energy": -45.0}[column]
    moving = voice(**{column: middle + np.linspace(-drift / 2, drift / 2, 300)})
    assert terse in texts(prosody=moving)
    assert sentence in caption(heard("sentences", prosody=moving), "sentences").lower()
    assert terse not in texts(prosody=voice())


def test_unvoiced_frames_do_not_make_a_course():
    level = np.where(np.arange(300) < 100, -45.0, -75.0)
    whispered = voice(energy=level, voiced=(np.arange(300) < 100).astype(float))
    assert not any("over time" in text for text in texts(prosody=whispered))


def syllables(starts, seconds=8.0):
    """Energy with one bump of 60 ms at each of `starts`, over a steady voice."""
    energy = np.full(round(seconds * 100), -50.0)
    for start in starts:
        energy[round(start * 100) : round(start * 100) + 10] = -25.0
    return voice(n=len(energy), energy_db=energy)


def test_a_tempo_that_changes_is_said():
    steady = np.arange(0.2, 7.0, 0.3)
    slowing = np.concatenate([np.arange(0.2, 2.0, 0.15), np.arange(2.0, 7.0, 0.4)])
    assert not any("over time" in t for t in texts(prosody=syllables(steady)))
    assert "speaking rate slowing over time" in texts(prosody=syllables(slowing))
    paused = np.where(steady > 4.0, steady + 2.5, steady)
    assert not any("over time" in t for t in texts(prosody=syllables(paused, seconds=11.0)))
    faster = syllables((7.3 - slowing)[::-1])
    assert "speaking rate quickening over time" in texts(prosody=faster)


def test_a_rise_at_the_end_and_over_time_is_one():
    rising = voice(f0=19 + np.linspace(-3, 3, 300))
    cues = heard("sentences", prosody=rising, speech_rate=rate(slope=9.0))
    assert any("rising at the end and over time" in cue.text for cue in cues)


# --- steadiness, affect, speech or not


def test_an_unsteady_voice_is_said():
    assert "voice very unsteady" in texts(prosody=voice(jitter_pct=5.0, shimmer_db=1.2))
    assert "voice coarse" in texts(prosody=voice(jitter_pct=2.5, shimmer_db=1.4))


@given(st.floats(-0.25, 1.25, width=32), st.floats(-0.25, 1.25, width=32))
def test_affect_is_worded_in_order(first, second):
    def level(value):
        row = np.array([[value]], np.float32)
        (text,) = texts(affect=Track(row, 1.0, 0.0, ("valence",), "named", "model"))
        return ("very low", "low", "medium", "high", "very high").index(
            text.removeprefix("valence ")
        )

    low, high = sorted((first, second))
    assert level(low) <= level(high)


def test_sound_without_speech_is_doubted_and_still_described():
    sure = heard(prosody=voice(f0=28.0), speech_rate=rate(speech=0.6))
    none = heard(prosody=voice(f0=28.0), speech_rate=rate(speech=0.0))
    little = heard(prosody=voice(f0=28.0), speech_rate=rate(speech=0.04))
    unchecked = heard(prosody=voice(f0=28.0), speech_rate=rate())
    assert "uncertain" not in {c.state for c in (*sure, *unchecked)}
    assert none[0].text == "no speech in the sound, it may not be a voice"
    assert little[0].text == "speech in only 4 % of the sound"
    for cues in (none, little):
        assert {c.state for c in cues} == {"uncertain"}
        assert "pitch high" in [c.text for c in cues]


def test_nothing_voiced_beside_a_models_word():
    silent = voice(voiced=np.zeros(300), f0=np.nan)
    model = Track(np.array([[0.1]], np.float32), 1.0, 0.0, ("arousal",), "named", "model")
    assert texts(prosody=silent, affect=model) == ["no voice heard", "arousal very low"]
