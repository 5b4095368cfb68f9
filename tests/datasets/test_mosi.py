import csv
from pathlib import Path

import numpy as np
import pytest

from textualize.datasets import load_dataset
from textualize.errors import TextualizeError
from textualize.extract.pipeline import extract_corpus

HEADER = "row,id,transcript,video_index,label,sentiment\n"
ROWS = "5,a_b_10,TEN,1,1,0.0\n6,a_b_2,TWO,1,0,-1.5\n7,c_1,ONE,2,1,2.25\n"


def test_the_published_utterances(assets):
    root = assets / "data/mosi_utterance"
    listing = load_dataset("mosi", root)
    assert len(listing.clips) == 1447 and not listing.failures
    assert len({c.group for c in listing.clips}) == 62
    assert [sum(c.label == x for c in listing.clips) for x in listing.labels.labels] == [738, 709]
    assert "62 training videos" in listing.notes[0]
    with (root / "utterances_train.csv").open(newline="") as stream:
        rows = [row["id"] for row in csv.DictReader(stream)]
    for clip in listing.clips:
        for track, file in clip.sidecars.items():
            assert file.endswith(f"_train0.csv#{rows.index(clip.id)}[0:-1]"), track


def test_numbers_and_audio_alone(assets):
    options = {"labels": "number", "features": "audio"}
    listing = load_dataset("mosi", assets / "data/mosi_utterance", options)
    assert listing.labels is None and listing.notes == ()
    assert all(-3 <= c.label <= 3 and len(c.sidecars) == 1 for c in listing.clips)
    binary = load_dataset("mosi", assets / "data/mosi_utterance")
    for number, known in zip(listing.clips, binary.clips, strict=True):
        assert (number.label >= 0) == (known.label == "positive")


def test_a_videos_utterances_follow_their_number(tmp_path):
    (tmp_path / "utterances_train.csv").write_text(HEADER + ROWS)
    listing = load_dataset("mosi", tmp_path)
    assert [c.id for c in listing.clips] == ["a_b_2", "a_b_10", "c_1"]
    assert [[u.text for u in c.context] for c in listing.clips] == [[], ["TWO"], []]
    assert [c.group for c in listing.clips] == ["a_b", "a_b", "c"]
    assert [c.label for c in listing.clips] == ["negative", "positive", "positive"]
    assert len(listing.notes) == 3 and all("is not there" in n for n in listing.notes)
    assert not any(c.sidecars for c in listing.clips)
    assert load_dataset("mosi", tmp_path, {"features": "none"}).notes == ()


def test_a_features_row_is_the_row_of_the_file_not_of_what_could_be_used(tmp_path):
    (tmp_path / "utterances_test.csv").write_text(HEADER + "1,x_1,A,1,7,1\n" + ROWS)
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/audio_test0.csv").write_text("1\n")
    listing = load_dataset("mosi", tmp_path, {"features": "audio"})
    assert [f.clip for f in listing.failures] == ["test_row2"]
    keys = {c.id: c.sidecars["features-audio"].rpartition("#")[2] for c in listing.clips}
    assert keys == {"a_b_10": "1[0:-1]", "a_b_2": "2[0:-1]", "c_1": "3[0:-1]"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,x,A,1,1,1", "id should be VIDEO_NUMBER"),
        ("1,x_1,A,1,1,nan", "sentiment should be -3 to 3"),
        ("1,x_1,A,1,1,4", "sentiment should be -3 to 3"),
        ("1,x_1,A,1,0,1", "does not go with sentiment 1"),
        ("1,x_1,A,1,2,1", "mosi has no label '2'"),
        ("1,x_1", "could not convert"),
        ("1,c_1,A,1,1,1", "c_1 is given twice"),
    ],
)
def test_rows_that_cannot_be_used_are_listed(tmp_path, row, said):
    (tmp_path / "utterances_train.csv").write_text(HEADER + ROWS + row + "\n")
    listing = load_dataset("mosi", tmp_path)
    assert len(listing.clips) == 3
    assert [f.error.startswith("utterances_train.csv: row 5: ") for f in listing.failures] == [True]
    assert said in listing.failures[0].error


def test_other_columns_are_one_line(tmp_path):
    (tmp_path / "utterances_train.csv").write_text("id,text\n")
    with pytest.raises(TextualizeError, match="has no column transcript, label, sentiment"):
        load_dataset("mosi", tmp_path)


def test_imported_features_are_the_files_rows_without_the_label(assets, tmp_path):
    root = assets / "data/mosi_utterance"
    clips = load_dataset("mosi", root).clips[::400]
    sensors = "sidecar,features-visual,features-audio,features-text"
    outcome = extract_corpus(clips, tmp_path / "corpus", sensors=sensors, workers=0)
    assert not outcome.failures
    for record in outcome.corpus.stream():
        assert record.transcript == record.clip.transcript
        for track, width in {"text": 100, "audio": 73, "visual": 100}.items():
            file, _, key = record.clip.sidecars[f"features-{track}"].rpartition("#")
            lines = Path(file).read_text().splitlines()
            row = next(csv.reader([lines[int(key.partition("[")[0])]]))
            values = record.tracks[track].values
            assert values.shape == (1, width) and len(row) == width + 1
            np.testing.assert_array_equal(values[0], np.array(row[:-1], np.float32))
