from collections import Counter

import numpy as np
import pytest

from textualize.datasets import load_dataset
from textualize.errors import TextualizeError
from textualize.extract.pipeline import extract_corpus

h5py = pytest.importorskip("h5py")


def write(root, name, values):
    with h5py.File(root / f"{name}.h5", "w") as stored:
        stored["d1"] = values


def test_the_published_sequences(assets):
    listing = load_dataset("mmmo", assets / "data/mfn_sequences/mmmo")
    assert Counter(c.split for c in listing.clips) == {"train": 220, "validation": 40, "test": 80}
    assert listing.labels is None and not listing.failures
    assert all(1 <= c.label <= 5 for c in listing.clips)
    assert listing.notes == ("train: no text features",)
    assert {len(c.sidecars) for c in listing.clips if c.split == "train"} == {2}
    assert {len(c.sidecars) for c in listing.clips if c.split != "train"} == {3}
    assert listing.clips[221].sidecars["features-visual"].endswith("video_valid.h5#d1[1]")


def test_scores_become_numbers_or_two_classes(tmp_path):
    write(tmp_path, "y_train", np.array([1.0, 3.0, 3.5, 9.0]))
    number = load_dataset("mmmo", tmp_path)
    assert [c.label for c in number.clips] == [1.0, 3.0, 3.5]
    assert [f.clip for f in number.failures] == ["train_003"]
    binary = load_dataset("mmmo", tmp_path, {"labels": "binary"})
    assert {c.id: c.label for c in binary.clips} == {
        "train_000": "negative",
        "train_002": "positive",
    }
    assert "1 clips of score 3 are neither: left out" in binary.notes


def test_arrays_that_do_not_belong_together_are_one_line(tmp_path):
    write(tmp_path, "y_train", np.ones(3))
    write(tmp_path, "audio_train", np.zeros((2, 20, 74)))
    with pytest.raises(TextualizeError, match=r"has 2 rows, y_train.h5 3"):
        load_dataset("mmmo", tmp_path)
    (tmp_path / "y_train.h5").write_bytes(b"not hdf5")
    with pytest.raises(TextualizeError, match="has no array 'd1'"):
        load_dataset("mmmo", tmp_path)


def test_imported_sequences_are_the_arrays_rows(assets, tmp_path):
    clips = load_dataset("mmmo", assets / "data/mfn_sequences/mmmo").clips[::100]
    sensors = "features-visual,features-audio,features-text"
    outcome = extract_corpus(clips, tmp_path / "corpus", sensors=sensors, workers=0)
    assert not outcome.failures
    for record in outcome.corpus.stream():
        wanted = {"audio": 74, "visual": 36} | (
            {} if record.clip.split == "train" else {"text": 300}
        )
        assert {name: t.values.shape for name, t in record.tracks.items()} == {
            name: (20, width) for name, width in wanted.items()
        }
        file, _, key = record.clip.sidecars["features-audio"].rpartition("#")
        with h5py.File(file) as stored:
            expected = stored["d1"][int(key[3:-1])].astype(np.float32)
        np.testing.assert_array_equal(record.tracks["audio"].values, expected)
