import json
import os
import subprocess
import sys

import numpy as np
import pytest

from textualize import files, speakers
from textualize.errors import TextualizeError
from textualize.files import StorageError, write_bytes_atomic
from textualize.labels import label_set
from textualize.store import (
    Corpus,
    Entry,
    Item,
    clip_from_json,
    clip_json,
    failure,
    item_path,
    read_item,
    write_item,
)
from textualize.types import Clip, Span, Status, Track, Utterance, Word


def track(rows: int = 5) -> Track:
    values = np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)
    values[0] = np.nan
    return Track(values, 12.5, 1.25, ("AU01", "AU02"), "deviation", "mediapipe")


def item() -> Item:
    word = Word(Span(1.0, 1.5), "hello", 0.5)
    said = Utterance(Span(1.0, 2.0), "hello there", (word,), "anna", 0.4, "pocketsphinx")
    return Item(Status("observed", "mediapipe", "face in 4 of 5 frames"), {"aus": track()}, (said,))


def test_item_round_trip(tmp_path):
    write_item(tmp_path, "ab12", item())
    back = read_item(tmp_path, "ab12")
    assert back is not None
    assert back.status == item().status
    assert back.utterances == item().utterances
    np.testing.assert_array_equal(back.tracks["aus"].values, track().values)
    assert back.tracks["aus"].names == track().names
    assert back.tracks["aus"].start == 1.25


def test_item_without_tracks_round_trips(tmp_path):
    write_item(tmp_path, "cd", Item(Status("absent", "sidecar", "no transcript given")))
    back = read_item(tmp_path, "cd")
    assert back is not None and back.status.state == "absent" and not back.tracks


@pytest.mark.parametrize("keep", [0, 1, 8, 60, 300])
def test_a_torn_item_reads_as_missing(tmp_path, keep):
    write_item(tmp_path, "ab12", item())
    path = item_path(tmp_path, "ab12")
    path.write_bytes(path.read_bytes()[:keep])
    assert read_item(tmp_path, "ab12") is None


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_bytes_atomic(path, b"old")

    def broken(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(StorageError, match="cannot write .*: disk full; what was finished is kept"):
        write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("end", [3.0, float("inf")])
def test_clip_round_trip(end, tmp_path):
    clip = Clip(
        "a",
        tmp_path / "a.mp4",
        Span(1.0, end),
        "s",
        "g",
        (Utterance(Span(0, 0), "before", speaker="b"),),
        "joy",
        "train",
        "words",
        {"openface": "x#1"},
    )
    assert clip_from_json(json.loads(json.dumps(clip_json(clip), allow_nan=False))) == clip


def test_records_are_read_back_with_speaker_statistics(tmp_path):
    corpus = Corpus.create(tmp_path / "c", label_set("compound7"), [])
    entries = []
    for i in range(4):
        write_item(corpus.folder, f"k{i}", item())
        entries.append(Entry(Clip(f"c{i}", None, subject="s"), {"face": f"k{i}"}))
    corpus.write_entries(entries)
    records = Corpus(corpus.folder).records()
    assert [r.clip.id for r in records] == ["c0", "c1", "c2", "c3"]
    assert records[0].speaker is not None and records[0].speaker.clips == 4
    assert records[0].transcript == "hello there"
    assert Corpus(corpus.folder).labels == label_set("compound7")


def test_a_missing_item_is_an_error_not_an_empty_record(tmp_path):
    corpus = Corpus.create(tmp_path / "c", None, [])
    corpus.write_entries([Entry(Clip("c0", None), {"face": "gone"})])
    with pytest.raises(TextualizeError, match="face of 'c0' is missing"):
        corpus.records()


def test_a_newer_schema_is_refused_and_not_overwritten(tmp_path):
    folder = tmp_path / "c"
    Corpus.create(folder, None, [])
    about = json.loads((folder / "corpus.json").read_text())
    (folder / "corpus.json").write_text(json.dumps({**about, "schema": 99}))
    with pytest.raises(TextualizeError, match="schema 99"):
        Corpus(folder)
    with pytest.raises(TextualizeError, match="schema 99"):
        Corpus.create(folder, None, [])
    assert json.loads((folder / "corpus.json").read_text())["schema"] == 99


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(TextualizeError, match="not empty and not a corpus"):
        Corpus.create(tmp_path, None, [])
    assert (tmp_path / "thesis.tex").read_text() == "x"


def test_failures_round_trip(tmp_path):
    corpus = Corpus.create(tmp_path / "c", None, [])
    corpus.write_failures([failure("a", "face", "two\nlines")])
    (found,) = corpus.failures()
    assert (found.clip, found.stage, found.error) == ("a", "face", "two lines")


def test_what_a_killed_process_left_is_swept_and_a_live_ones_is_not(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    host = files.HOST
    left = tmp_path / "tracks/ab" / f".x.safetensors.{host}-{dead}.abc.tmp"
    live = tmp_path / f".records.jsonl.{host}-{os.getpid()}.abc.tmp"
    elsewhere = tmp_path / ".records.jsonl.another-1.abc.tmp"
    for path in (left, live, elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    files.sweep(tmp_path)
    assert not left.exists() and live.exists() and elsewhere.exists()


def test_failed_sensors_are_said_in_the_record(tmp_path):
    corpus = Corpus.create(tmp_path / "c", None)
    corpus.write_entries([Entry(Clip("a", None), {}, failed={"face": "it broke"})])
    status = corpus.records()[0].status["face"]
    assert (status.state, status.reason) == ("failed", "it broke")


def test_sensors_are_listed_once_and_labels_stay(tmp_path):
    Corpus.create(tmp_path / "c", label_set("basic7"), [{"spec": "a", "version": "1"}])
    corpus = Corpus.create(tmp_path / "c", None, [{"version": "1", "spec": "a"}, {"spec": "b"}])
    assert [s["spec"] for s in corpus.about["sensors"]].count("a") == 1
    assert len(corpus.about["sensors"]) == 2 and corpus.labels == label_set("basic7")


def test_pixels_stay_bytes(tmp_path):
    crops = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    item = Item(Status("observed", "x"), {"crops": Track(crops, 5.0, 0.0, (), "pixels", "x")})
    write_item(tmp_path, "abcd", item)
    back = read_item(tmp_path, "abcd")
    assert back is not None and back.tracks["crops"].values.dtype == np.uint8
    np.testing.assert_array_equal(back.tracks["crops"].values, crops)


def test_streaming_gives_what_reading_all_gives(tmp_path):
    corpus = Corpus.create(tmp_path / "c", None)
    entries = []
    for n in range(9):
        values = np.random.default_rng(n).normal(size=(6, 2)).astype(np.float32)
        values[n % 6] = np.nan
        made = Track(values, 12.5, 0.0, ("AU01", "AU02"), "deviation", "mediapipe")
        write_item(corpus.folder, f"{n:04}", Item(Status("observed", "m"), {"aus": made}))
        subject = ("anna", "ben", None)[n % 3] if n < 8 else "once"
        entries.append(Entry(Clip(f"c{n}", None, subject=subject), {"face": f"{n:04}"}))
    corpus.write_entries(entries)
    whole = corpus.records()
    for a, b in zip(whole, corpus.stream(), strict=True):
        assert a.clip == b.clip and (a.speaker is None) == (b.speaker is None)
        np.testing.assert_array_equal(a.tracks["aus"].values, b.tracks["aus"].values)
    few = speakers.attach(whole, min_clips=2)
    again = speakers.statistics(corpus.stream(), min_clips=2)
    assert set(again) == {"anna", "ben"}
    for record in few:
        if record.clip.subject in again:
            expected = again[record.clip.subject].mean["aus"]
            np.testing.assert_array_equal(record.speaker.mean["aus"], expected)
    chosen = corpus.stream(lambda e: e.clip.subject == "ben")
    assert [r.clip.id for r in chosen] == ["c1", "c4", "c7"]
