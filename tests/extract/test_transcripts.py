"""Readers of transcript files: what they keep, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from textualize.errors import TextualizeError
from textualize.extract.transcripts import READERS, read_transcript, restrict
from textualize.types import Span, Utterance, Word

WHOLE = Span(0.0, 100.0)

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> there,
{\\an8}you &amp; you

2
00:00:04,250 --> 00:00:06,000
Later.
"""

VTT = """WEBVTT

NOTE a remark
that spans lines

intro
00:01.000 --> 00:02.500 align:start position:0%
<v.loud Ann>Hello <00:01.500><c>there</c></v>

01:00:00.500 --> 01:00:01.000
An hour in
"""


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_subrip(tmp_path: Path, newline: str, mark: str) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes((mark + SRT).replace("\n", newline).encode())
    first, second = read_transcript(path, WHOLE)
    assert first == Utterance(Span(1.0, 2.5), "Hello there, you & you")
    assert second.span == Span(4.25, 6.0)


def test_webvtt_with_voices_notes_and_short_clocks(tmp_path: Path) -> None:
    path = written(tmp_path, "a.VTT", VTT)
    first, second = read_transcript(path, Span(0.0, 4000.0))
    assert (first.text, first.speaker, first.span) == ("Hello there", "Ann", Span(1.0, 2.5))
    assert (second.text, second.speaker, second.span.start) == ("An hour in", None, 3600.5)


def test_whisper_json(tmp_path: Path) -> None:
    words = [
        {"word": " Good", "start": 1.0, "end": 1.4, "probability": 0.9},
        {"word": " day", "start": 1.4, "end": 2.0, "score": 0.5},
    ]
    segment = {"start": 1.0, "end": 2.0, "text": " Good  day", "words": words, "speaker": "S0"}
    path = written(tmp_path, "a.json", json.dumps({"segments": [segment], "language": "en"}))
    (said,) = read_transcript(path, WHOLE)
    assert (said.text, said.speaker, said.confidence) == ("Good day", "S0", None)
    assert said.words == (
        Word(Span(1.0, 1.4), "Good", 0.9),
        Word(Span(1.4, 2.0), "day", 0.5),
    )
    bare = written(tmp_path, "b.json", json.dumps([{"start": 0, "end": 1, "text": "Hi"}]))
    assert read_transcript(bare, WHOLE) == (Utterance(Span(0.0, 1.0), "Hi"),)


def test_words_without_times_do_not_shorten_the_text(tmp_path: Path) -> None:
    words = [{"word": "in", "start": 1.0, "end": 1.2}, {"word": "1999"}]
    segment = {"start": 1.0, "end": 2.0, "text": "in 1999", "words": words}
    path = written(tmp_path, "a.json", json.dumps({"segments": [segment]}))
    (said,) = read_transcript(path, WHOLE)
    assert (said.text, said.words) == ("in 1999", ())


def test_plain_text_belongs_to_the_span(tmp_path: Path) -> None:
    span = Span(7.0, 9.0)
    path = written(tmp_path, "a.txt", "  two\nlines ")
    assert read_transcript(path, span) == (Utterance(span, "two lines"),)
    assert read_transcript(path, Span(0.0, 0.0))[0].text == "two lines"
    assert read_transcript(written(tmp_path, "b.txt", " \n"), span) == ()


def test_span_keeps_each_caption_for_exactly_one_of_two_halves(tmp_path: Path) -> None:
    path = written(tmp_path, "a.srt", SRT)
    everything = read_transcript(path, WHOLE)
    for at in (0.5, 1.7, 1.8, 3.0, 5.2, 50.0):
        halves = read_transcript(path, Span(0, at)) + read_transcript(path, Span(at, 100))
        assert halves == everything


def test_a_clip_inside_a_long_caption_has_its_text() -> None:
    caption = Utterance(Span(0.0, 60.0), "a long story")
    assert restrict([caption], Span(2.0, 4.0)) == (caption,)


def test_words_are_cut_at_the_span() -> None:
    words = tuple(Word(Span(i, i + 1), str(i)) for i in range(6))
    said = Utterance(Span(0, 6), "0 1 2 3 4 5", words, speaker="A")
    (kept,) = restrict([said], Span(1.6, 4.4))
    assert (kept.text, kept.span, kept.speaker) == ("2 3", Span(2, 4), "A")
    assert restrict([said], Span(8, 9)) == ()
    assert restrict([said], Span(0, 6)) == (said,)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.doc", "x", "must end in one of .srt, .vtt, .json, .txt"),
        ("a.srt", "no times here", "no line like"),
        ("a.srt", "1\n00:00 --> x\nhi", "bad time line"),
        ("a.json", "{", "cannot be read"),
        ("a.json", '{"text": "hi"}', "cannot be read"),
        ("a.json", '{"segments": [{"text": "hi", "start": null, "end": 1}]}', "cannot be read"),
        ("a.json", "7", "cannot be read"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(TextualizeError) as caught:
        read_transcript(written(tmp_path, name, text), WHOLE)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_wrongly_encoded_files(tmp_path: Path) -> None:
    with pytest.raises(TextualizeError, match="no transcript at"):
        read_transcript(tmp_path / "gone.srt", WHOLE)
    path = tmp_path / "latin.txt"
    path.write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(TextualizeError, match="not UTF-8"):
        read_transcript(path, WHOLE)


@pytest.mark.parametrize("ending", READERS)
def test_empty_files_never_crash(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, f"a{ending}", "")
    if ending == ".json":
        with pytest.raises(TextualizeError, match="cannot be read"):
            read_transcript(path, WHOLE)
    else:
        assert read_transcript(path, WHOLE) == ()
