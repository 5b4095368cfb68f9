import json
import math

import pytest

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
