"""What is said around a clip: never the future unasked, never its own words, never a label."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.errors import TextualizeError
from textualize.finetune.recipe import load_recipe
from textualize.prompt import load_template, load_template_from, render, save_template
from textualize.store import Corpus, Entry
from textualize.surroundings import attach, earlier, with_said
from textualize.text.budget import fitted
from textualize.text.prompts import PromptReader
from textualize.types import Clip, Record, Span, Status, Utterance, Word
from textualize.windows import Window, windowed

HEARD = {"speech": Status("observed", "test")}


# --- the same video file ------------------------------------------------------------------------


def said(start: float, *words: str, each: float = 1.0) -> Utterance:
    """Words of a second each, from `start` on."""
    timed = tuple(
        Word(Span(start + i * each, start + (i + 1) * each), w) for i, w in enumerate(words)
    )
    return Utterance(Span(start, start + len(words) * each), " ".join(words), timed)


def piece(name: str, start: float, end: float, *utterances: Utterance, video="a.mp4") -> Record:
    clip = Clip(name, Path(video), Span(start, end), subject="Ana", group="a", label="glad")
    return Record(clip, {}, utterances, HEARD)


def texts(turns) -> list[str]:
    return [u.text for u in turns]


def cut_out() -> list[Record]:
    """Three clips of one video, not in the order of their times, and one of another."""
    return attach(
        [
            piece("late", 20, 25, said(20, "now", "this")),
            piece("early", 0, 10, said(0, "first", "of", "all"), said(8, "then", "that")),
            piece("middle", 12, 15, Utterance(Span(12, 15), "untimed words")),
            piece("other", 0, 5, said(0, "elsewhere"), video="b.mp4"),
        ]
    )


def test_the_past_seconds_of_the_same_file_are_read_and_nothing_else():
    late, early, middle, other = cut_out()
    assert texts(earlier(late, seconds=100)) == ["first of all", "then that", "untimed words"]
    assert texts(earlier(late, seconds=10.9)) == ["that", "untimed words"]
    assert texts(earlier(middle, seconds=100)) == ["first of all", "then that"]
    assert earlier(early, seconds=100) == earlier(other, seconds=100) == ()
    assert {u.speaker for u in earlier(late, seconds=100)} == {"Ana"}


@given(st.floats(0.1, 40), st.floats(0.1, 30))
def test_no_word_of_the_context_is_from_the_span_or_before_the_seconds(start, seconds):
    records = cut_out()
    records.append(replace(piece("new", start, start + 3), around=records[0].around))
    for record in records:
        begin = record.clip.span.start
        for utterance in earlier(record, seconds=seconds):
            for span in [w.span for w in utterance.words] or [utterance.span]:
                assert begin - seconds <= (span.start + span.end) / 2 < begin
            if not utterance.words:
                assert utterance.span.end <= begin + 1e-6


def test_words_two_clips_share_are_given_once_and_doubted_ones_not_at_all():
    one = piece("one", 0, 6, said(0, "a", "b", "c", "d", "e", "f"))
    two = piece("two", 4, 9, said(4, "e", "f", "g", "h"))
    ghost = piece("ghost", 9, 10, replace(said(9, "thanks"), doubt="probably not speech"))
    last = piece("last", 10, 12)
    found = earlier(attach([last, ghost, two, one])[0], seconds=60)
    assert texts(found) == ["a b c d e f", "g h"]


def test_a_window_of_a_long_clip_reads_what_the_clip_said_before_it():
    (long,) = attach([piece("long", 0, 6, said(0, *"abcdef"))])
    pieces = windowed(long, Window(2.0, 2.0))
    assert [texts(earlier(p, seconds=2)) for p in pieces] == [[], ["a b"], ["c d"]]
    text = render(pieces[1], "transcript", context_s=2).text
    assert text == "Ana: a b\nc d"


# --- the same dialogue --------------------------------------------------------------------------


def dialogue(*lines: str, kept: int = 10, left_out: int | None = None) -> list[Record]:
    """A corpus' records of one dialogue, each with at most `kept` turns before it."""
    turns = [Utterance(Span(0, 0), text, speaker=f"s{i % 2}") for i, text in enumerate(lines)]
    records = []
    for i, turn in enumerate(turns):
        context = tuple(turns[max(0, i - kept) : i])
        clip = Clip(f"d{i}", None, subject=turn.speaker, group="d", context=context)
        clip = replace(clip, transcript=turn.text, label="glad")
        records.append(Record(clip, {}, (turn,), HEARD))
    return [r for i, r in enumerate(records) if i != left_out]


LINES = st.lists(st.sampled_from(["hey", "yes", "no", "well"]), min_size=1, max_size=9)


@given(LINES, st.integers(1, 4), st.randoms())
def test_turns_after_a_clip_are_those_of_its_dialogue_in_whatever_order_it_is_stored(
    lines, kept, random
):
    lines = [f"{text} {i // 3}" for i, text in enumerate(lines)]  # texts repeat, places do not
    records = dialogue(*lines, kept=max(kept, 3))
    random.shuffle(records)
    for record in attach(records):
        at = int(record.clip.id[1:])
        assert texts(record.around.following) == lines[at + 1 :]


def test_a_turn_without_a_clip_is_known_from_those_after_it():
    found = attach(dialogue("a", "b", "c", "d", left_out=2))
    assert [texts(r.around.following) for r in found] == [["b", "c", "d"], ["c", "d"], []]


def test_the_same_words_again_later_do_not_end_a_dialogue():
    found = attach(dialogue("hey", "hey", "you", "hey", "hey"))
    assert texts(found[0].around.following) == ["hey", "you", "hey", "hey"]


def test_clips_that_are_no_dialogue_have_nothing_after_them():
    alone = [replace(r, clip=replace(r.clip, context=())) for r in dialogue("a", "b", "c")]
    assert all(r.around.following == () for r in attach(alone))


def test_the_future_is_read_only_where_it_is_asked_for_and_the_run_says_so(tmp_path):
    first = attach(dialogue("a", "b", "c"))[0]
    for name in ("compound", "transcript"):
        assert "b" not in render(first, name, modalities="T", turns=2).text.split("Words")[-1]
    assert render(first, "transcript", future_turns=1).text == "a\nLater:\ns1: b"
    assert "After: s1: “b” s0: “c”" in render(first, future_turns=5).text
    assert "After" not in render(first, modalities="VA", future_turns=5).text
    save_template(load_template("compound", future_turns=2), tmp_path)
    about = json.loads((tmp_path / "prompt" / "prompt.json").read_text())
    assert "THE FUTURE" in about["reads beyond the clip"]
    assert load_template_from(tmp_path).future_turns == 2
    assert load_template("compound", turns=3).reads == "up to 3 turns before it in its dialogue"


@pytest.mark.parametrize(
    "settings, message",
    [
        (["template=basic", "turns=1"], "does not use 'context'"),
        (["template=richet2024", "future_turns=1"], "does not use 'following'"),
        (["turns=1", "context_s=2"], "not in both"),
        (["context_s=.inf"], "finite"),
    ],
)
def test_context_that_would_change_nothing_is_refused(settings, message):
    with pytest.raises(TextualizeError, match=message):
        PromptReader.of(load_recipe("text-encoder", settings))


# --- read, counted, cut -------------------------------------------------------------------------


def reader(**options) -> PromptReader:
    return PromptReader(load_template("transcript", "T", **options))


def test_who_has_no_context_is_counted_and_a_corpus_without_any_refused():
    assert reader(turns=3).around(cut_out(), "train") == []
    timed = reader(context_s=30)
    assert timed.lacking(cut_out()) == {"context_s": 2}
    (note,) = timed.around(cut_out(), "train")
    assert note == "train: 2 of 4 clips with words of their video file in the 30 s before them"
    with pytest.raises(TextualizeError, match="none of the 1 train clips.*windows"):
        timed.around(cut_out()[1:2], "train")
    (note,) = reader(future_turns=1).around(attach(dialogue("a", "b")), "validation")
    assert "1 of 2" in note and "reads the future" in note
    with pytest.raises(TextualizeError, match="corpus of dialogues"):
        reader(future_turns=1).around(cut_out(), "train")


def length(text: str, shots=()) -> int:
    return len(text.split())


def test_turns_to_come_are_cut_before_earlier_ones_and_counted():
    middle = attach(dialogue("a a", "b b", "c c", "d d", "e e"))[2]
    both = reader(turns=2, future_turns=2)
    whole = both.texts([middle])[0]
    assert fitted(both, middle, (), length(whole), length).text == whole
    found = fitted(both, middle, (), length(whole) - 1, length)
    assert found.lost == {"future turns": 1}
    assert "d d" in found.text and "e e" not in found.text
    found = fitted(both, middle, (), 5, length)
    assert found.lost == {"future turns": 2, "turns": 1}
    assert found.text == "s1: b b\nc c"


def test_timed_context_is_cut_oldest_first():
    late = cut_out()[0]
    found = fitted(reader(context_s=100), late, (), 9, length)
    assert found.lost == {"turns": 1}
    assert found.text.splitlines() == ["Ana: then that", "Ana: untimed words", "now this"]


def test_what_is_left_around_a_record_is_all_a_prompt_is_given():
    late = cut_out()[0]
    some = earlier(late, seconds=100)[:1]
    assert texts(earlier(with_said(late, some), seconds=100)) == ["first of all"]
    assert texts(earlier(with_said(late, some), turns=5)) == ["first of all"]


def test_a_corpus_read_whole_knows_what_is_around_its_clips(tmp_path):
    corpus = Corpus.create(tmp_path / "c", None)
    corpus.write_entries(Entry(r.clip, {}) for r in dialogue("a", "b"))
    assert [texts(r.around.following) for r in corpus.records()] == [["b"], []]
    assert [texts(r.around.following) for r in corpus.stream()] == [[], []]
