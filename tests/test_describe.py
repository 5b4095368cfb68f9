import math
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize import speakers
from textualize.describe import MAX_TRANSCRIPT, caption, clean_transcript, describe
from textualize.errors import TextualizeError
from textualize.types import MODALITIES, Clip, Cue, Record, Span, Status, Track, Utterance
from textualize.wording import AU_NAMES, AU_SCALES, REGISTERS
from textualize.wording.face import MAX_AUS
from textualize.wording.facs import COMPOUNDS, UNITS
from textualize.wording.scales import relative_words
from textualize.wording.voices import COURSES, TEMPO, VOICES, pause_words

RATE_COLUMNS = (
    "syllables_per_s",
    "articulation_per_s",
    "pause_s",
    "pauses",
    "longest_pause_s",
    "final_slope_st_s",
)
VOICE_COLUMNS = ("f0_st", "energy_db", "voiced", "hnr_db", "tilt_db", "centroid_hz")
EMOTION_WORDS = (
    "anger angry disgust fear afraid happi happy joy sad surpris calm neutral emotion"
).split()


def aus(values, names=("AU01", "AU12"), unit="probability", rate=10.0):
    rows = np.asarray(values, np.float32).reshape(-1, len(names))
    return Track(rows, rate, 0.0, names, unit, "sensor")


def voice(f0=19.0, energy=-45.0, hnr=9.0, tilt=9.0, centroid=1000.0, n=100):
    wobble = 4.0 * np.sin(np.arange(n))
    columns = (f0 + wobble, energy + 6 * wobble, np.ones(n), hnr, tilt, centroid)
    values = np.stack([np.broadcast_to(np.asarray(c, np.float32), n) for c in columns], axis=1)
    return Track(values, 100.0, 0.0, VOICE_COLUMNS, "named", "prosody")


def rate(articulation=4.0, pauses=0, longest=0.0, slope=0.0):
    row = np.array([[articulation, articulation, longest, pauses, longest, slope]], np.float32)
    return Track(row, 1.0, 0.0, RATE_COLUMNS, "named", "prosody")


def record(track=None, **kwargs):
    tracks = {"aus": track} if track is not None else {}
    return Record(Clip("clip-7", None), tracks | kwargs.pop("tracks", {}), **kwargs)


def texts(cues):
    return [cue.text for cue in cues]


def spoken(text, confidence=None):
    return Utterance(Span(0.0, 1.0), text, confidence=confidence, source="asr")


# --- states


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_state_of_a_modality_has_its_own_sentence(modality):
    seen = {
        "not_run": record(),
        "failed": record(status={modality: Status("failed", "s", "boom")}),
        "absent": record(status={modality: Status("absent", "s")}),
    }
    sentences = {}
    for state, given_record in seen.items():
        (cue,) = describe(given_record, (modality,))
        assert (cue.state, cue.modality) == (state, modality)
        sentences[state] = cue.text
    assert len(set(sentences.values())) == 3


def test_neutral_lost_unmeasured_and_failed_faces_are_four_sentences():
    faces = [
        record(aus([[0.1, 0.2]])),
        record(aus([[np.nan, np.nan]])),
        record(),
        record(status={"face": Status("failed", "s")}),
    ]
    cues = [describe(face, ("face",))[0] for face in faces]
    assert [cue.state for cue in cues] == ["neutral", "absent", "not_run", "failed"]
    assert len(set(texts(cues))) == 4
    assert cues[1].text == "no face visible"


def test_a_sensors_reason_never_reaches_the_words():
    told = Status("failed", "s", "cannot open /data/Happily-Surprised/03.mp4")
    cues = describe(record(status=dict.fromkeys(MODALITIES, told)))
    assert "Surprised" not in " ".join(texts(cues))
    assert "clip-7" not in " ".join(texts(cues))


@given(st.sets(st.sampled_from(MODALITIES)), st.booleans())
def test_each_asked_modality_speaks_in_order_and_no_other(chosen, full):
    tracks = {"aus": aus([[0.9, 0.1]]), "prosody": voice()} if full else {}
    cues = describe(record(tracks=tracks), tuple(chosen))
    named = list(dict.fromkeys(cue.modality for cue in cues))
    assert named == [m for m in MODALITIES if m in chosen]


def test_counts_are_per_state():
    cues = describe(record(aus([[0.9, 0.8]])))
    assert Counter(cue.state for cue in cues) == {"observed": 2, "not_run": 2}


# --- face


def test_action_units_come_strongest_first_graded():
    track = aus([[0.6, 0.95, 0.5]], ("AU01", "AU12", "AU04"))
    assert texts(describe(record(track), ("face",))) == [
        "lip corner puller (AU12) strong",
        "inner brow raiser (AU1) slight",
    ]


@pytest.mark.parametrize("unit", AU_SCALES)
def test_each_unit_has_its_own_threshold_and_it_is_strict(unit):
    scale = AU_SCALES[unit]
    at = aus([[scale.active, 0.0]] * 2, unit=unit)
    if unit == "presence":  # the fraction of frames counts, not the value
        at = aus([[1, 0]] + [[0, 0]] * 4, unit=unit)
    assert describe(record(at), ("face",))[0].state == "neutral"
    above = aus([[scale.strong + 0.15, 0.0]] * 2, unit=unit)
    (cue,) = describe(record(above), ("face",))
    assert cue.text == f"inner brow raiser (AU1) {scale.words[2]}"


@given(st.floats(0, 5), st.floats(0, 5), st.sampled_from(list(AU_SCALES)), st.booleans())
def test_a_higher_value_is_never_worded_weaker(a, b, unit, single):
    scale = AU_SCALES[unit]
    order = (None, *scale.words)
    low, high = sorted((a, b))
    assert order.index(scale.grade(low, single)) <= order.index(scale.grade(high, single))


def test_a_clip_mean_counts_sooner_than_a_peak():
    one, many = aus([[0.8, 0]], unit="intensity"), aus([[0.8, 0]] * 5, unit="intensity")
    assert describe(record(one), ("face",))[0].text == "inner brow raiser (AU1) slight"
    assert describe(record(many), ("face",))[0].state == "neutral"


def test_the_span_is_from_first_to_last_time_above():
    values = np.zeros((20, 2), np.float32)
    values[5:9, 0] = 0.9
    (cue,) = describe(record(aus(values)), ("face",))
    assert (cue.span.start, cue.span.end) == pytest.approx((0.5, 0.9))
    (always,) = describe(record(aus([[0.9, 0.0]] * 20)), ("face",))
    assert always.span is None


def test_a_face_seen_too_rarely_is_announced_with_its_share():
    values = np.full((10, 2), np.nan, np.float32)
    values[:3] = [0.9, 0.1]
    first, second = describe(record(aus(values)), ("face",))
    assert (first.state, second.state) == ("uncertain", "observed")
    assert first.text == "face visible in only 30 % of the clip"
    values[:5] = [0.9, 0.1]
    assert describe(record(aus(values)), ("face",))[0].state == "observed"


def test_at_most_twelve_action_units_are_named():
    names = tuple(AU_NAMES)
    track = aus([np.linspace(0.6, 1.0, len(names))], names)
    cues = describe(record(track), ("face",))
    assert len(cues) == MAX_AUS < len(names)
    assert names[-1].removeprefix("AU") in cues[0].text  # the last column is the strongest


def test_a_track_in_a_unit_that_is_none_of_action_units_is_refused():
    with pytest.raises(TextualizeError, match="'pixels'"):
        describe(record(aus([[1, 2]], unit="pixels")), ("face",))


def test_presence_beside_intensity_is_not_worded_twice():
    both = record(aus([[2.5, 0]], unit="intensity"), tracks={"au_presence": aus([[1, 1]])})
    assert texts(describe(both, ("face",))) == ["inner brow raiser (AU1) strong"]


def clips_of_one_person(values):
    made = [
        Record(Clip(f"c{i}", None, subject="p"), {"aus": aus([v], unit="intensity")})
        for i, v in enumerate(values)
    ]
    return speakers.attach(made)


def test_with_a_known_person_action_units_are_worded_against_the_usual():
    people = clips_of_one_person([(0, 2), (0, 2), (0, 2), (0, 2), (3, 0)])
    last = texts(describe(people[-1], ("face",)))
    assert set(last) == {
        "inner brow raiser (AU1) much more than usual",
        "lip corner puller (AU12) much less than usual",
    }
    first = describe(people[0], ("face",))
    assert "inner brow raiser (AU1) slightly less than usual" in texts(first)


def test_a_usual_face_says_so():
    people = clips_of_one_person([(1, 1), (0, 2), (2, 0), (0, 0), (2, 2)])
    (cue,) = describe(people[0], ("face",))
    assert (cue.state, cue.text) == ("neutral", "face as usual, no action unit stands out")


@given(st.floats(allow_nan=True, allow_infinity=False))
def test_relative_words_are_symmetric_and_silent_about_nan(z):
    up, down = relative_words(z, "less", "more"), relative_words(-z, "less", "more")
    assert (up is None) == (down is None) == (math.isnan(z) or abs(z) < 0.5)
    if up is not None:
        assert up.replace("more", "less") == down.replace("more", "less")


# --- speech


def test_words_are_verbatim_with_their_apostrophes():
    (cue,) = describe(
        record(utterances=(spoken("I can’t, it’s Ross' \u201cthing\u201d"),)), ("speech",)
    )
    assert (cue.state, cue.text) == ("observed", "I can't, it's Ross' \"thing\"")


def test_unsure_words_stay_usable_and_are_marked_by_state():
    said = (spoken("no way", 0.49), spoken("really", 0.5))
    cues = describe(record(utterances=said), ("speech",))
    assert [(c.text, c.state) for c in cues] == [("no way", "uncertain"), ("really", "observed")]


@pytest.mark.parametrize("text", ["", "  \n ", "<|endoftext|>", "\x00"])
def test_nothing_recognised_is_not_an_empty_string(text):
    given_record = record(utterances=(spoken(text),))
    (cue,) = describe(given_record, ("speech",))
    assert (cue.state, cue.text) == ("absent", "no words recognised")
    heard = record(status={"speech": Status("observed", "asr")})
    assert describe(heard, ("speech",))[0].text == "no words recognised"


TOKENS = ("<|eot_id|>", "<|im_start|>", "[INST]", "[/INST]", "<s>", "</s>", "<<SYS>>", "<</SYS>>")


@pytest.mark.parametrize("token", [*TOKENS, "<|begin_of_text|>", "[/inst]", "<start_of_turn>"])
def test_control_tokens_are_removed(token):
    assert clean_transcript(f"yes{token}no") == "yes no"


def test_a_token_hidden_in_another_is_removed_too():
    assert clean_transcript("a<|x<|eot_id|>y|>b") == "a y b"
    for hidden in ("<<s>s>", "[IN[INST]ST]", "<|<|eot_id|>eot_id|>"):
        assert not any(token in clean_transcript(hidden) for token in TOKENS)
    assert clean_transcript("a<\u200b|eot\u202e_id|>b") == "a b"


@given(st.lists(st.sampled_from([*TOKENS, "<", "|", ">", "[", "]", "s", "/", " ", "word", "\n"])))
def test_no_control_token_survives_any_mixture(pieces):
    cleaned = clean_transcript("".join(pieces))
    assert not any(token in cleaned for token in (*TOKENS, "<|", "|>", "\n"))


@given(st.text())
def test_cleaning_twice_is_cleaning_once_and_gives_one_line(text):
    once = clean_transcript(text)
    assert clean_transcript(once) == once
    assert "“" not in once
    assert "”" not in once
    assert once == " ".join(once.split())
    assert once.isprintable() or any(c in once for c in "\u200c\u200d") or not once.isascii()


def test_long_speech_is_cut_visibly_in_one_utterance_or_many():
    (one,) = describe(record(utterances=(spoken("word " * 1000),)), ("speech",))
    assert one.text.endswith(" [cut]")
    assert len(one.text) <= MAX_TRANSCRIPT + 6
    many = describe(record(utterances=(spoken("word " * 100),) * 20), ("speech",))
    assert sum(len(cue.text) for cue in many) <= MAX_TRANSCRIPT + 12
    assert many[-1].text.endswith("[cut]")
    assert not any(cue.text.endswith("[cut]") for cue in many[:-1])


# --- prosody


def phrase(subject, cues):
    (text,) = [t for t in texts(cues) if t.startswith(subject + " ")]
    return text


def test_an_unreliable_estimate_is_not_worded_but_the_same_action_from_a_coder_is():
    names = ("AU17", "AU12")
    values = [[1.0, 0.9]] * 4
    measured = record(aus(values, names, "deviation"))
    coded = record(aus([[3.5, 3.5]] * 4, names, "intensity"))
    assert texts(describe(measured, ("face",))) == ["lip corner puller (AU12) strong"]
    assert any("chin raiser" in t for t in texts(describe(coded, ("face",))))


def cue(text, state="observed"):
    return Cue("prosody", state, text, None, "test")


def test_a_caption_leaves_the_unremarkable_out_and_compares_once():
    cues = [
        cue("pitch higher than usual"),
        cue("loudness as usual", "neutral"),
        cue("speaking rate much slower than usual"),
        cue("two pauses, long"),
    ]
    assert caption(cues) == "pitch higher; speaking rate much slower than usual; two pauses, long"
    assert caption([cue("pitch medium", "neutral"), cue("no pause", "neutral")]) == (
        "nothing stands out"
    )
    assert caption([cue("face at rest", "neutral")]) == "face at rest"
    timed = [cue("jaw drop (AU26) more than usual, twice"), cue("pitch lower than usual")]
    assert caption(timed) == "jaw drop (AU26) more, twice; pitch lower than usual"


def test_a_caption_never_edits_what_was_said():
    said = [Cue("speech", "observed", t, None, "t") for t in ("later than usual", "as usual")]
    assert caption([*said, cue("pitch lower than usual")]).startswith("later than usual; ")


def test_a_caption_in_sentences_is_one():
    voice_cues = [cue("speaks fast"), cue("pitch unremarkable", "neutral"), cue("two long pauses")]
    assert caption(voice_cues, "sentences") == "Speaks fast, two long pauses."
    face = [Cue("face", "observed", t, None, "t") for t in ("the jaw is dropped", "the eyes blink")]
    assert caption(face, "sentences") == "The jaw is dropped; the eyes blink."
    assert caption([], "sentences") == "Nothing stands out."


def test_a_middling_voice_is_neutral_throughout():
    cues = describe(record(tracks={"prosody": voice(), "speech_rate": rate()}), ("prosody",))
    measured = {*VOICE_COLUMNS, *RATE_COLUMNS}
    assert len(cues) == sum(v.column in measured for v in VOICES) + 1
    assert {cue.state for cue in cues} == {"neutral"}
    assert cues[-1].text == "no pause"


def test_an_unusual_voice_is_worded_in_every_respect():
    tracks = {
        "prosody": voice(f0=26, energy=-41, tilt=4, hnr=13),
        "speech_rate": rate(5.2, 2, 0.8, 9.0),
    }
    cues = describe(record(tracks=tracks), ("prosody",))
    for expected in (
        "pitch high",
        "loudness loud",
        "speaking rate fast",
        "final pitch rising",
        "voice pressed",
        "voice tone clear",
        "two pauses, long",
    ):
        assert expected in texts(cues)


def test_with_a_known_speaker_the_voice_is_worded_against_the_usual():
    pitches = (10, 10.5, 11, 10.2, 16)
    made = [Record(Clip(str(p), None, subject="p"), {"prosody": voice(f0=p)}) for p in pitches]
    *_, high = speakers.attach(made)
    assert phrase("pitch", describe(made[-1], ("prosody",))[:1]) == "pitch medium"
    assert phrase("pitch", describe(high, ("prosody",))[:1]) == "pitch much higher than usual"
    assert "loudness as usual" in texts(describe(high, ("prosody",)))


def test_a_voice_without_a_voiced_frame_has_no_pitch_words():
    cues = describe(record(tracks={"prosody": voice(f0=np.nan)}), ("prosody",))
    assert cues
    assert not any("pitch" in text for text in texts(cues))
    noise = voice(f0=np.nan)
    noise.values[:, VOICE_COLUMNS.index("voiced")] = 0
    unseen = replace(voice(), values=np.full((5, 6), np.nan, np.float32))
    for nothing in (noise, unseen):
        (cue,) = describe(record(tracks={"prosody": nothing}), ("prosody",))
        assert (cue.state, cue.text) == ("absent", "no voice heard")


@pytest.mark.parametrize("entry", VOICES, ids=lambda v: v.subject)
def test_the_edges_of_each_range_ascend(entry):
    assert all(a < b for a, b in zip(entry.edges, entry.edges[1:], strict=False))
    assert [entry.absolute(e + 1e-6) for e in (-1e9, *entry.edges)] == list(entry.words)


def test_pauses_count_and_tell_long_from_short():
    assert pause_words(1, 0.49) == "one pause, short"
    assert pause_words(2, 0.5) == "two pauses, long"


# --- fairness


def test_no_cue_names_an_emotion():
    words = [w for v in VOICES for w in (v.subject, v.less, v.more, *v.words, *v.spoken.values())]
    words += [w for c in (*COURSES, TEMPO) for w in (c.subject, *c.less, *c.more)]
    words += [w for u in (*UNITS.values(), *COMPOUNDS.values()) for w in u]
    words += [w for s in AU_SCALES.values() for w in s.words]
    given_records = [
        record(status=dict.fromkeys(MODALITIES, Status(state, "x")))
        for state in ("failed", "absent", "observed")
    ]
    given_records += [record(aus([[0.0, 0.0]])), clips_of_one_person([(1, 1)] * 5)[0]]
    for one in given_records:
        words += [t for register in REGISTERS for t in texts(describe(one, register=register))]
    for word, emotion in ((w, e) for w in words for e in EMOTION_WORDS):
        assert emotion not in word.lower()


def full_record():
    tracks = {"aus": aus([[0.9, 0.1]]), "prosody": voice(f0=28), "speech_rate": rate(5, 1)}
    return record(tracks=tracks, utterances=(spoken("hello"),))


def test_registers_differ_in_words_and_not_in_states():
    both = [describe(full_record(), register=register) for register in ("terse", "sentences")]
    for modality in MODALITIES:
        first, second = ({c.state for c in cues if c.modality == modality} for cues in both)
        assert first == second
    assert texts(both[0]) != texts(both[1])


def test_an_unknown_register_is_refused():
    with pytest.raises(TextualizeError, match="register named 'poem'"):
        describe(record(), register="poem")


def test_affect_stands_in_for_a_voice_that_was_not_measured_and_beside_one_that_failed():
    affect = Track(np.array([[0.9]], np.float32), 1.0, 0.0, ("arousal",), "named", "model")
    alone = record(tracks={"affect": affect})
    assert texts(describe(alone, ("prosody",))) == ["arousal very high"]
    beside = record(tracks={"affect": affect}, status={"prosody": Status("failed", "s")})
    assert [c.state for c in describe(beside, ("prosody",))] == ["failed", "observed"]
    broken = record(tracks={"prosody": voice()}, status={"affect": Status("failed", "model")})
    assert describe(broken, ("prosody",))[-1].state == "failed"


def test_words_with_a_doubt_are_uncertain_whatever_their_confidence():
    doubted = replace(spoken("thank you", 0.99), doubt="probably not speech")
    (cue,) = describe(record(utterances=(doubted,)), ("speech",))
    assert (cue.text, cue.state) == ("thank you", "uncertain")


def test_modalities_do_not_change_each_others_words():
    tracks = {"aus": aus([[0.9, 0.1]]), "prosody": voice()}
    full = record(tracks=tracks, utterances=(spoken("hello"),))
    everything = describe(full)
    for size in (1, 2):
        for chosen in combinations(MODALITIES, size):
            assert describe(full, chosen) == tuple(c for c in everything if c.modality in chosen)
