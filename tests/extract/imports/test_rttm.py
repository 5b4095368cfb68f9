"""RTTM: turns to utterances, turns to the speakers of a transcript, one line per damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.errors import TextualizeError
from textualize.extract.imports.rttm import SpeakerTurns, turns_by_recording, with_speakers
from textualize.extract.sensor import Reading, Sensor
from textualize.extract.sensor import read as read_clip
from textualize.extract.speech.recogniser import Sidecar
from textualize.extract.video import open_media
from textualize.types import Clip, Span, Utterance

RTTM = """;; a comment
SPKR-INFO a 1 <NA> <NA> <NA> unknown anna <NA> <NA>
SPEAKER a 1 0.0 1.5 <NA> <NA> anna <NA> <NA>
SPEAKER a 1 1.4 2.0 <NA> <NA> ben <NA> <NA>
"""
SRT = """1
00:00:00,000 --> 00:00:01,400
good morning

2
00:00:01,300 --> 00:00:03,000
hello

3
00:00:08,000 --> 00:00:09,000
anyone
"""


def read(sensor: Sensor, span: Span | None = None, **sidecars: Path | str) -> Reading:
    named = {k: str(v) for k, v in sidecars.items()}
    return read_clip(sensor, open_media(Clip("a", None, span, sidecars=named)))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_turns_are_utterances_without_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rttm", RTTM)
    reading = read(SpeakerTurns(), speakers=path)
    assert [(u.speaker, u.text) for u in reading.utterances] == [("anna", ""), ("ben", "")]
    assert reading.utterances[1].span.end == pytest.approx(3.4)
    assert reading.status.reason == "2 turns of 2 speakers, no words"
    cut = read(SpeakerTurns(), Span(1.5, 4.0), speakers=path)
    assert [u.speaker for u in cut.utterances] == ["ben"]


def test_the_transcript_gets_the_speaker_of_largest_overlap(tmp_path: Path) -> None:
    turns, words = write(tmp_path / "a.rttm", RTTM), write(tmp_path / "a.srt", SRT)
    reading = read(Sidecar(), Span(0.0, 10.0), speakers=turns, transcript=words)
    assert [u.speaker for u in reading.utterances] == ["anna", "ben", None]
    assert [u.text for u in reading.utterances] == ["good morning", "hello", "anyone"]
    assert reading.status.reason == "1 of 3 utterances overlap no turn"
    alone = read(Sidecar(), Span(0.0, 10.0), transcript=words)
    assert {u.speaker for u in alone.utterances} == {None}


def test_one_file_about_several_recordings(tmp_path: Path) -> None:
    path = write(tmp_path / "all.rttm", RTTM + RTTM.replace(" a ", " b ").replace("anna", "carl"))
    assert read(SpeakerTurns(), speakers=path).utterances[0].speaker == "anna"  # the clip's name
    assert read(SpeakerTurns(), speakers=f"{path}#b").utterances[0].speaker == "carl"
    with pytest.raises(TextualizeError, match="no turn of recording 'c'; it has 2: a, b"):
        read(SpeakerTurns(), speakers=f"{path}#c")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("SPEAKER a 1 0.0 x <NA> <NA> anna", r"a.rttm:5: begin and duration should be seconds"),
        ("SPEAKER a 1 0.0 -1 <NA> <NA> anna", r"a.rttm:5: begin and duration"),
        ("SPEAKER a 1 0.0 1", r"a.rttm:5: expected 'SPEAKER file"),
        ("1\t0.0\t1.0\tanna", r"a.rttm:5: expected 'SPEAKER file"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, line: str, says: str) -> None:
    path = write(tmp_path / "a.rttm", f"{RTTM}{line}\n")
    with pytest.raises(TextualizeError, match=says):
        read(SpeakerTurns(), speakers=path)
    with pytest.raises(TextualizeError, match="no SPEAKER line"):
        turns_by_recording(write(tmp_path / "b.rttm", ";; nothing\n"))


spans = st.tuples(st.floats(0, 50), st.floats(0.1, 10)).map(lambda t: Span(t[0], t[0] + t[1]))


@given(st.lists(spans, max_size=6), st.lists(st.tuples(spans, st.sampled_from("ab")), max_size=6))
def test_no_other_speaker_overlaps_more(said: list[Span], turns: list[tuple[Span, str]]) -> None:
    spoken = [Utterance(s, "", speaker=who) for s, who in turns]
    given_, unknown = with_speakers([Utterance(s, "x") for s in said], spoken)
    assert unknown == sum(u.speaker is None for u in given_)
    for utterance in given_:
        shared = {w: sum((utterance.span & s).duration for s, v in turns if v == w) for w in "ab"}
        best = max(shared.values())
        assert shared[utterance.speaker] == best if utterance.speaker else best == 0
