import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.datasets import manifest
from textualize.datasets.sources import listing_of
from textualize.errors import TextualizeError
from textualize.labels import label_set


def write(tmp_path, text, name="clips.csv"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def test_a_full_row(tmp_path):
    path = write(
        tmp_path,
        "id,video,start,end,label,subject,group,split,transcript,openface\n"
        "a,m/a.mp4,1.5,3,happy,anna,f,train,hello,au.csv#k\n",
    )
    (clip,) = manifest.load(path).clips
    assert clip.video == tmp_path / "m/a.mp4"
    assert (clip.span.start, clip.span.end) == (1.5, 3.0)
    assert (clip.label, clip.subject, clip.group, clip.split) == ("happy", "anna", "f", "train")
    assert clip.transcript == "hello"
    assert clip.sidecars == {"openface": str(tmp_path / "au.csv#k")}


def test_empty_cells_are_none_and_an_open_end_is_the_end(tmp_path):
    path = write(tmp_path, "id,video,start,end,label\na,a.mp4,,,\nb,b.mp4,2,,\n")
    first, second = manifest.load(path).clips
    assert first.span is None and first.label is None
    assert second.span.end == math.inf


def test_bad_rows_are_listed_and_the_rest_goes_on(tmp_path):
    path = write(
        tmp_path,
        "id,video,start,end\na,a.mp4,3,1\nb,b.mp4,x,\nc,,,\nd,d.mp4,,\nd,e.mp4,,\nf,f.mp4,-2,1\n",
    )
    listing = manifest.load(path)
    assert [c.id for c in listing.clips] == ["d"]
    assert [f.clip for f in listing.failures] == ["a", "b", "c", "d", "f"]
    assert "clips.csv:3: start should be seconds; given 'x'" in listing.failures[1].error


def test_a_label_outside_the_set_is_quarantined(tmp_path):
    path = write(tmp_path, "id,video,label\na,a.mp4,sadly angry\nb,b.mp4,hangry\n")
    listing = manifest.load(path, label_set("compound7"))
    assert [c.id for c in listing.clips] == ["a"]
    assert "'hangry' is not in label set 'compound7'" in listing.failures[0].error


@pytest.mark.parametrize(
    "text, message",
    [
        ("id,vidoe\na,b\n", "did you mean video"),
        ("id,label\na,b\n", "needs a column 'video' or 'transcript'"),
        ("id,video\n", "has no rows"),
    ],
)
def test_unusable_files_are_one_line(tmp_path, text, message):
    with pytest.raises(TextualizeError, match=message):
        manifest.load(write(tmp_path, text))


def test_jsonl_with_context(tmp_path):
    row = {"id": "a", "transcript": "Fine.", "context": [{"speaker": "bo", "text": "And you?"}]}
    path = write(tmp_path, json.dumps(row) + "\n", "clips.jsonl")
    (clip,) = manifest.load(path).clips
    assert clip.video is None
    assert [(u.speaker, u.text) for u in clip.context] == [("bo", "And you?")]


def test_latin1_is_refused_in_one_line(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_bytes("id,video\nä,a.mp4\n".encode("latin-1"))
    with pytest.raises(TextualizeError, match="not UTF-8"):
        manifest.load(path)


def test_folders_and_files_make_unique_ids_with_their_transcripts(tmp_path):
    for name in ("x/a.mp4", "y/a.wav", "y/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "x/a.srt").write_text("1\n")
    listing = listing_of([tmp_path])
    assert sorted(c.id for c in listing.clips) == ["x/a", "y/a.mp4", "y/a.wav"]
    assert next(c for c in listing.clips if c.id == "x/a").sidecars["transcript"].endswith("a.srt")


def test_empty_folder_and_missing_path_are_refused(tmp_path):
    with pytest.raises(TextualizeError, match="no media files"):
        listing_of([tmp_path])
    with pytest.raises(TextualizeError, match="no file or folder"):
        listing_of([tmp_path / "gone"])


@pytest.mark.parametrize(
    "text, seconds",
    [("3", 3), ("3.25", 3.25), ("3,25", 3.25), ("1:02.5", 62.5), ("00:01:02,500", 62.5),
     ("90:00", 5400), ("1:00:00", 3600), ("1e1", 10), ("-2", -2)],
)  # fmt: skip
def test_times_are_seconds_or_a_clock(text, seconds):
    assert manifest.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "x", "nan", "inf", "1e999", "1:60", "1:75:00", "1_0", "1:2:3:4", "٣", "0x1"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(TextualizeError, match="should be seconds"):
        manifest.seconds(text)


@given(st.floats(0, 350_000).map(lambda x: round(x, 3)))
def test_a_clock_says_what_its_seconds_say(time):
    ms = round(time * 1000)
    clock = f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"
    assert manifest.seconds(clock) == pytest.approx(manifest.seconds(f"{time:.3f}"), abs=1e-9)


def test_labels_are_settled_over_all_rows(tmp_path):
    text = "id,transcript,label\na,x,Happily-Surprised\nb,x,happily_surprised\nc,x,sadly angry\n"
    listing = manifest.load(write(tmp_path, text))
    assert [c.label for c in listing.clips] == ["happily surprised"] * 2 + ["sadly angry"]
    assert "labels respelled" in listing.notes[0]


def test_number_labels_are_floats_and_whole_ones_are_asked_about(tmp_path):
    listing = manifest.load(write(tmp_path, "transcript,label\na,-1.5\nb,2\nc,\n"))
    assert [c.label for c in listing.clips] == [-1.5, 2.0, None] and listing.labels is None
    with pytest.raises(TextualizeError, match="labels are whole numbers"):
        manifest.load(write(tmp_path, "transcript,label\na,0\nb,2\n"))


def test_splits_take_the_names_that_folds_know(tmp_path):
    listing = manifest.load(write(tmp_path, "transcript,split\na,Train\nb,dev\nc,testing\nd,x\n"))
    assert [c.split for c in listing.clips] == ["train", "validation", "test", "x"]
    assert listing.notes == ("splits renamed: Train -> train, dev -> validation, testing -> test",)


def test_import_columns_become_sidecars(tmp_path):
    text = "transcript,transcript_file,hume,fex\na,a.srt,/h.json,x.csv#3\n"
    (clip,) = manifest.load(write(tmp_path, text)).clips
    assert clip.sidecars == {
        "transcript": str(tmp_path / "a.srt"), "hume": "/h.json", "fex": str(tmp_path / "x.csv#3"),
    }  # fmt: skip


def test_a_known_silence_is_not_an_unknown_one(tmp_path):
    lines = '{"id": "a", "transcript": ""}\n{"id": "b", "video": "v", "transcript": null}\n'
    a, b = manifest.load(write(tmp_path, lines, "t.jsonl")).clips
    assert a.transcript == "" and b.transcript is None


def test_a_file_without_a_usable_row_says_why(tmp_path):
    with pytest.raises(TextualizeError, match="none of the 2 rows.*first: clips.csv:2: neither"):
        manifest.load(write(tmp_path, "id,video\na,\nb,\n"))


def test_twice_given_ids_name_the_first_row(tmp_path):
    listing = manifest.load(write(tmp_path, "video,start\na.mp4,0\na.mp4,2\n"))
    assert len(listing.clips) == 1
    assert "clips.csv:3: id 'a' is given twice (first in clips.csv:2)" in listing.failures[0].error


def test_cells_of_the_wrong_kind_are_row_failures(tmp_path):
    rows = [{"transcript": "x", "id": i, **bad} for i, bad in enumerate(
        [{}, {"label": True}, {"start": [1]}, {"video": {"a": 1}}, {"context": [{"text": 3}]}]
    )]  # fmt: skip
    text = "".join(json.dumps(r) + "\n" for r in rows)
    listing = manifest.load(write(tmp_path, text, "t.jsonl"))
    assert [c.id for c in listing.clips] == ["0"]
    assert [f.clip for f in listing.failures] == ["1", "2", "3", "4"]
    assert "label should be text or a number; given 'True'" in listing.failures[0].error
