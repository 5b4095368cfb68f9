import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from textualize.baselines.floor import BagOfWords
from textualize.describe import describe
from textualize.errors import TextualizeError
from textualize.finetune.recipe import FloorRecipe, parse
from textualize.finetune.train import train as finetune_train
from textualize.methods import load
from textualize.types import Clip, Prediction, Record, Span, Status, Track, Utterance, Word
from textualize.windows import (
    RICHET2024,
    ByWindow,
    Window,
    aggregate,
    clip_of,
    cut,
    extent,
    windowed,
    windows,
)

SPANS = st.tuples(st.floats(0, 1e4), st.floats(0.01, 300)).map(lambda x: Span(x[0], x[0] + x[1]))
WINDOWS = st.tuples(st.floats(0.5, 60), st.floats(0.2, 1)).map(lambda x: Window(x[0], x[0] * x[1]))


@given(SPANS, WINDOWS)
def test_windows_tile_the_span(span, window):
    made = windows(span, window)
    assert made[0].start == span.start and made[-1].end == span.end
    for a, b in pairwise(made):
        assert a.start < b.start <= a.end + 2e-6  # in order, without a gap
        assert b.start - a.start <= window.hop_s + 2e-6
    if span.duration > window.length_s + 1e-5:
        assert all(abs(w.duration - window.length_s) < 1e-6 for w in made)
        assert len(made) >= 2
    else:
        assert len(made) <= 2


@given(SPANS, WINDOWS)
def test_windows_overlap_exactly_where_the_hop_is_shorter(span, window):
    made = windows(span, window)
    assume(window.hop_s < window.length_s * 0.999)
    assert all(bool(a & b) for a, b in pairwise(made))


def test_whole_numbers_of_windows_have_no_extra_one():
    assert len(windows(Span(0.0, 3.0), Window(0.1, 0.1))) == 30  # 0.1 is no binary fraction
    assert windows(Span(1.0, 9.0)) == [Span(1.0, 9.0)]


@pytest.mark.parametrize("length, hop", [(0, 0), (1, 0), (1, 1.1), (math.nan, 1), (math.inf, 1)])
def test_windows_with_gaps_or_without_length_are_refused(length, hop):
    with pytest.raises(TextualizeError, match="0 < hop_s <= length_s"):
        Window(length, hop)


def test_a_span_without_an_end_is_refused():
    with pytest.raises(TextualizeError, match="span with an end"):
        windows(Span(0.0, math.inf), Window(1, 1))


def record(seconds=6.0, rate=10.0, start=0.0):
    rows = round(seconds * rate)
    aus = np.arange(rows, dtype=np.float32)[:, None]
    words = tuple(Word(Span(start + i, start + i + 0.9), f"w{i}") for i in range(int(seconds)))
    said = Utterance(Span(start, start + seconds), " ".join(w.text for w in words), words)
    return Record(
        Clip("talk", None, subject="ann", label="joy"),
        {
            "aus": Track(aus, rate, start, ("AU12",), "probability", "made"),
            "mean": Track(np.ones((1, 1), np.float32), 1 / seconds, start, ("x",), "named", "made"),
        },
        (said,),
        {"face": Status("observed", "made"), "speech": Status("observed", "made")},
    )


@given(st.integers(2, 40), st.sampled_from([7.3, 10.0, 12.5, 25.0]), st.floats(0, 100),
       st.sampled_from([0.4, 1.0, 2.5]))  # fmt: skip
def test_windows_side_by_side_share_no_row_and_no_word(seconds, rate, start, length):
    whole = record(float(seconds), rate, start)
    spans = windows(extent(whole), Window(length, length))[:-1]  # the last one is moved back
    parts = [cut(whole, span) for span in spans]
    rows = np.concatenate([p.tracks["aus"].values for p in parts] or [np.zeros((0, 1))])
    assert np.array_equal(rows, whole.tracks["aus"].values[: len(rows)])
    heard = [w.text for p in parts for u in p.utterances for w in u.words]
    assert heard == [f"w{i}" for i in range(len(heard))]
    for part, span in zip(parts, spans, strict=True):
        times = part.tracks["aus"].times
        assert (times >= span.start - 1e-6).all() and (times < span.end + 1e-6).all()
        offset = (times - whole.tracks["aus"].start) * rate
        assert np.allclose(part.tracks["aus"].values[:, 0], offset, atol=1e-3)


def test_a_row_longer_than_the_window_is_in_every_window():
    for part in windowed(record(), Window(2, 2)):
        assert part.tracks["mean"].values.tolist() == [[1.0]]


def test_windowed_records_keep_what_folds_and_training_need():
    parts = windowed(record(), Window(2.0, 1.0))
    assert [p.clip.id for p in parts] == [f"talk#{i:03d}" for i in range(5)]
    assert {(p.clip.label, p.clip.subject, p.clip.fold_group) for p in parts} == {
        ("joy", "ann", "ann")
    }
    assert [p.clip.span for p in parts] == [Span(i, i + 2.0) for i in range(5)]
    assert parts[1].transcript == "w1 w2"
    nobody = Record(Clip("x", None, Span(0, 4)))
    assert {p.clip.fold_group for p in windowed(nobody, Window(2, 2))} == {"x"}
    whole = record()
    assert windowed(whole, None) == [whole]


def test_where_a_track_does_not_reach_nothing_was_seen():
    part = cut(record(3.0), Span(5.0, 7.0))
    assert np.isnan(part.tracks["aus"].values).all()
    cues = describe(part, ("face", "speech"))
    assert [c.state for c in cues] == ["absent", "absent"]


def test_the_extent_is_the_span_or_what_was_measured():
    assert extent(record(6.0, start=2.0)) == Span(2.0, 8.0)
    assert extent(Record(Clip("a", None, Span(1, 3)))) == Span(1, 3)
    text = Record(Clip("a", None, Span(1, math.inf)), {}, (Utterance(Span(1, 5), "x"),))
    assert extent(text) == Span(1, 5)
    timeless = Record(Clip("a", None), {}, (Utterance(Span(0, 0), "x"),))
    assert not extent(timeless) and windowed(timeless, Window(1, 1)) == [timeless]


PROBABILITIES = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(
    lambda x: {k: v / sum(x) for k, v in zip("abc", x, strict=True)}
)


@given(st.lists(PROBABILITIES, min_size=1, max_size=8), st.randoms())
def test_a_clips_answer_is_the_mean_in_any_order(scores, random):
    made = [Prediction(f"talk#{i:03d}", "m", max(s, key=s.get), s) for i, s in enumerate(scores)]
    one = aggregate(made)
    random.shuffle(made)
    two = aggregate(made)
    assert one.clip_id == "talk" and one.method == "m"
    for label in "abc":
        mean = sum(s[label] for s in scores) / len(scores)
        assert one.scores[label] == pytest.approx(mean) == pytest.approx(two.scores[label])
    assert sum(one.scores.values()) == pytest.approx(1)
    assert one.scores[one.label] == max(one.scores.values())


def test_unread_windows_are_counted_and_none_read_is_no_answer():
    read = Prediction("t#000", "m", "a", {"a": 0.8, "b": 0.2})
    unread = Prediction("t#001", "m", None, {}, "eh?")
    found = aggregate([read, unread])
    assert found.label == "a" and found.text == "1 of 2 windows could not be read"
    assert aggregate([unread]).label is None and aggregate([read]).text == ""


def test_only_one_clips_windows_are_averaged():
    a = Prediction("t#000", "m", "a", {"a": 1.0})
    for other in (Prediction("u#000", "m", "a", {"a": 1.0}), Prediction("t#1", "m", "a", {"a": 1})):
        with pytest.raises(TextualizeError, match="one clip by one method"):
            aggregate([a, other])
    with pytest.raises(TextualizeError, match="different labels"):
        aggregate([a, Prediction("t#001", "m", "b", {"b": 1.0})])
    with pytest.raises(TextualizeError, match="given 0"):
        aggregate([])


@pytest.mark.parametrize(
    "window, clip", [("a#001", "a"), ("a#1234", "a"), ("a#b#001", "a#b"), ("a#01", "a#01"),
                     ("#001", "#001"), ("a#x01", "a#x01")],
)  # fmt: skip
def test_the_clip_of_a_window(window, clip):
    assert clip_of(window) == clip


@given(st.integers(0, 200))
def test_the_published_windows_differ_in_training_and_test(count):
    train, test = RICHET2024.rows(count, "train"), RICHET2024.rows(count, "test")
    assert [i for a, b in train for i in range(a, b)] == list(range(count))
    assert all(b - a == 10 for a, b in train[:-1])
    assert len(test) == count and all(a <= i < b <= a + 21 for i, (a, b) in enumerate(test))
    assert all(b - a == 21 for a, b in test[10 : count - 10])


def test_clips_without_face_rows_are_read_whole_and_counted(tmp_path, caplog):
    seen = [replace(record(3), clip=Clip(f"c{i}", None, label="ab"[i % 2])) for i in range(6)]
    blind = [replace(r, tracks={}) if i in (1, 4) else r for i, r in enumerate(seen)]
    assert windowed(blind[1], RICHET2024) == [blind[1]] and len(windowed(seen[1], RICHET2024)) > 9
    recipe = parse({"method": "bag-of-words", "rows": "richet2024", "strengths": [1.0]}, "test")
    run = finetune_train(recipe, blind[:4], blind[4:], tmp_path / "run", labels=None)
    said = "without face rows to count windows in: each is read whole, as one example"
    for note in (f"train: 1 of 4 clips {said}", f"validation: 1 of 2 clips {said}"):
        assert note in run.environment["notes"] and note in (run.path / "README.md").read_text()
    with caplog.at_level("WARNING"):
        answers = load(run.path).predict([r.with_label(None) for r in blind])
    assert f"prediction: 2 of 6 clips {said}" in caplog.text
    assert [p.clip_id for p in answers if "read whole: without face rows" in p.text] == ["c1", "c4"]


def test_the_published_windows_as_times():
    track = record(2.5, 10.0, 1.0).tracks["aus"]
    spans = RICHET2024.spans(track, "train")
    assert [(round(s.start, 6), round(s.end, 6)) for s in spans] == [(1, 2), (2, 3), (3, 3.5)]
    parts = [cut(record(2.5, 10.0, 1.0), s).tracks["aus"].values for s in spans]
    assert [len(p) for p in parts] == [10, 10, 5]


def talks(n, seconds=6):
    """Clips whose words say the label; every third is too short for two windows."""
    made = []
    for i in range(n):
        label, length = ("joy", "anger")[i % 2], seconds if i % 3 else 1
        said = [("laugh", "shout")[i % 2] if k % 2 else f"x{i}" for k in range(length)]
        words = tuple(Word(Span(k, k + 0.9), w) for k, w in enumerate(said))
        time = Span(0.0, float(length))
        speech = Utterance(time, " ".join(said), words)
        made.append(
            Record(Clip(f"c{i}", None, time, group=f"g{i}", label=label), {}, (speech,),
                   {"speech": Status("observed", "made")})
        )  # fmt: skip
    return made


def test_a_method_is_trained_and_asked_on_the_same_windows(tmp_path, monkeypatch):
    asked = []
    original = BagOfWords.predict

    def predict(self, records):
        asked.append(records)
        return original(self, records)

    monkeypatch.setattr(BagOfWords, "predict", predict)
    train, held = talks(12), talks(6)[3:]
    recipe = FloorRecipe(
        method="bag-of-words", modalities="T", window={"length_s": 2.0, "hop_s": 1.0}
    )
    run = finetune_train(recipe, train, [replace(r, clip=replace(r.clip, id=r.clip.id + "v"))
                                         for r in held], tmp_path / "run")  # fmt: skip
    asked.clear()
    method = load(run.path)
    answers = method.predict(held)
    assert [a.clip_id for a in answers] == [r.clip.id for r in held]
    assert [a.label for a in answers] == [r.clip.label for r in held]
    pieces = [p for r in held for p in windowed(r, Window(2.0, 1.0))]
    assert [r.clip.id for r in asked[0]] == [p.clip.id for p in pieces]
    by_hand = aggregate(original(method.method, pieces[1:6]))
    assert by_hand.scores == pytest.approx(answers[1].scores)
    assert json.loads((run.path / "splits.json").read_text())["train"] == [
        r.clip.id for r in train
    ]  # clips, not windows: folds are of clips
    one_by_one = [method.predict([r])[0] for r in held]
    assert one_by_one == answers and method.predict([]) == []


def test_without_a_window_a_run_reads_whole_clips(tmp_path):
    recipe = FloorRecipe(method="majority")
    run = finetune_train(recipe, talks(4), talks(8)[4:], tmp_path / "run")
    assert not isinstance(load(run.path), ByWindow)


def test_a_recipes_window_is_checked():
    for window, said in (
        ({"length_s": 1, "hop_s": 2}, "0 < hop_s <= length_s"),
        ({"length_s": 1}, "recipe: window.hop_s"),
        ({"length_s": 1, "hop_s": 1, "hop": 1}, r"unknown key 'window.hop' \(did you mean hop_s"),
    ):
        with pytest.raises(TextualizeError, match=said):
            parse({"method": "majority", "window": window}, "recipe")
