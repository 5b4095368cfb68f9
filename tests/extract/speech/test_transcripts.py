"""Readers of transcript files: what they keep, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from textualize.errors import TextualizeError
from textualize.extract.speech.transcripts import READERS, restrict
from textualize.extract.speech.transcripts import read_transcript as read
from textualize.types import Span, Utterance, Word

WHOLE = Span(0.0, 100.0)


def read_transcript(path: Path, span: Span) -> tuple[Utterance, ...]:
    utterances, note = read(path, span)
    assert note == ""
    return utterances


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


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(TextualizeError, match="no transcript at"):
        read_transcript(tmp_path / "gone.srt", WHOLE)
    folder = tmp_path / "folder.txt"
    folder.mkdir()
    with pytest.raises(TextualizeError, match="cannot be read"):
        read_transcript(folder, WHOLE)


@pytest.mark.parametrize("ending", READERS)
def test_empty_files_never_crash(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, f"a{ending}", "")
    if ending == ".json":
        with pytest.raises(TextualizeError, match="cannot be read"):
            read_transcript(path, WHOLE)
    else:
        assert read_transcript(path, WHOLE) == ()


# --- encodings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", ""),  # with its mark
        ("utf-16-le", "read as UTF-16"),
        ("utf-16-be", "read as UTF-16"),
        ("cp1252", "not UTF-8: read as Windows-1252"),
    ],
)
def test_encodings_are_told_apart_or_noted(tmp_path: Path, encoding: str, note: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nGrüße – ‘ça’\n"
    path = tmp_path / "a.srt"
    path.write_bytes(text.encode(encoding))
    (said,), noted = read(path, WHOLE)
    assert (said.text, noted) == ("Grüße – ‘ça’", note)


def test_bytes_of_no_windows_letter_are_latin(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"th\xe9 \x81")
    (said,), note = read(path, WHOLE)
    assert (said.text, note) == ("thé \x81", "not UTF-8: read as Latin-1")


# --- cues ----------------------------------------------------------------------------------------


def cue(start: float, end: float, *lines: str) -> str:
    return "\n".join([f"00:{start:06.3f} --> 00:{end:06.3f}", *lines])


def test_overlapping_and_empty_cues(tmp_path: Path) -> None:
    cues = [cue(5, 8, "second"), cue(1, 6, "first"), cue(2, 3), cue(2, 3, "<i> </i>")]
    path = written(tmp_path, "a.vtt", "WEBVTT\n\n" + "\n\n".join(cues))
    first, second = read_transcript(path, WHOLE)
    assert (first.text, second.text) == ("first", "second")
    assert first.span & second.span == Span(5, 6)
    none = written(tmp_path, "b.srt", "1\n00:00:01,000 --> 00:00:02,000\n\n")
    assert read_transcript(none, WHOLE) == ()


def test_two_voices_in_a_cue_are_two_utterances(tmp_path: Path) -> None:
    both = cue(1, 4, "<v Ann>Hi</v> <v.loud Bob &amp; Co>Hello", "there</v>")
    path = written(tmp_path, "a.vtt", "WEBVTT\n\n" + both)
    said = read_transcript(path, WHOLE)
    assert [(u.speaker, u.text) for u in said] == [("Ann", "Hi"), ("Bob & Co", "Hello there")]
    assert {u.span for u in said} == {Span(1, 4)}


def test_cues_without_empty_lines_between(tmp_path: Path) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\none\n2\n00:00:03,000 --> 00:00:04,000\ntwo\n"
    assert [u.text for u in read_transcript(written(tmp_path, "a.srt", text), WHOLE)] == [
        "one",
        "two",
    ]


def test_rolling_captions_say_each_line_once(tmp_path: Path) -> None:
    cues = [
        cue(0, 2, "hello<00:00.500><c> there</c>"),
        cue(2, 2.01, "hello there"),
        cue(2.01, 4, "hello there", "my<00:02.500><c> friend</c>"),
        cue(4, 4.01, "my friend"),
        cue(9, 10, "my friend"),  # said again, later
    ]
    path = written(tmp_path, "a.vtt", "WEBVTT\n\n" + "\n\n".join(cues))
    said = [u.text for u in read_transcript(path, WHOLE)]
    assert said == ["hello there", "my friend", "my friend"]


def test_lines_that_end_before_they_begin_are_noted(tmp_path: Path) -> None:
    text = cue(1, 2, "a") + "\n\n" + cue(5, 4, "b")
    said, note = read(written(tmp_path, "a.srt", text), WHOLE)
    assert [u.span for u in said] == [Span(1, 2), Span(5, 5)]
    assert note == "1 lines end before they begin"


# --- Whisper's numbers -------------------------------------------------------------------------


def test_numbers_of_whisper_are_kept_and_judged(tmp_path: Path) -> None:
    rows = [("sure", -0.2, 0.1), ("Thank you.", -1.4, 0.9), ("and so on " * 30, -0.1, 0.0)]
    segments = [
        {"start": i, "end": i + 1, "text": t, "avg_logprob": p, "no_speech_prob": n, "words": None}
        for i, (t, p, n) in enumerate(rows)
    ]
    segments.append({"start": 8, "end": 9, "text": " ", "avg_logprob": -0.1})
    for value in (
        {"segments": segments, "language": "en"},  # OpenAI's
        {"segments": segments, "info": {"language": "en"}},  # faster-whisper's, both parts
    ):
        sure, quiet, loop = read_transcript(written(tmp_path, "a.json", json.dumps(value)), WHOLE)
        assert {u.language for u in (sure, quiet, loop)} == {"en"}
        assert (sure.avg_logprob, sure.no_speech_prob, sure.doubt) == (-0.2, 0.1, "")
        assert sure.confidence == pytest.approx(0.8187, abs=1e-4)
        assert (quiet.doubt, quiet.confidence) == ("probably not speech", 0.0)
        assert (loop.doubt, loop.confidence) == ("repeats itself", 0.0)


def test_a_number_whisperx_could_not_align(tmp_path: Path) -> None:
    words = [{"word": "in", "start": 1.0, "end": 1.2}, {"word": "99", "start": None, "end": None}]
    segment = {"start": 1.0, "end": 2.0, "text": "in 99", "words": words}
    (said,) = read_transcript(written(tmp_path, "a.json", json.dumps([segment])), WHOLE)
    assert (said.text, said.words) == ("in 99", ())
