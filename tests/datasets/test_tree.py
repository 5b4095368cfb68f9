import pytest

from textualize.datasets import load_dataset
from textualize.datasets.sources import listing_of
from textualize.errors import TextualizeError


def test_the_folder_says_the_label(tmp_path, grow):
    grow(tmp_path, "Happily-Surprised/a.mp4", "sadly_angry/deep/er/a.wav", "sadly_angry/x.csv")
    listing = load_dataset("tree", tmp_path)
    assert {c.id: c.label for c in listing.clips} == {
        "Happily-Surprised/a": "happily surprised", "sadly_angry/deep/er/a": "sadly angry",
    }  # fmt: skip
    assert listing.labels.labels == ("happily surprised", "sadly angry")
    assert all(c.split is None and c.video.is_file() for c in listing.clips)
    assert "folds keep files apart, not people" in " ".join(listing.notes)


def test_splits_above_the_classes(tmp_path, grow):
    grow(tmp_path, "Train/joy/a.mp4", "val/joy/a.mp4", "test/Mad/b.mp4", "test/stray.mp4")
    (tmp_path / "Train/joy/a.srt").write_text("1\n")
    listing = load_dataset("tree", tmp_path)
    found = {c.id: (c.split, c.label) for c in listing.clips}
    assert found == {
        "Train/joy/a": ("train", "joy"), "val/joy/a": ("validation", "joy"),
        "test/Mad/b": ("test", "Mad"),
    }  # fmt: skip
    (stray,) = listing.failures
    assert stray.clip == "test/stray" and "lies in no class folder" in stray.error
    assert [c.id for c in listing.clips if c.sidecars] == ["Train/joy/a"]


def test_a_label_set_puts_other_folders_aside(tmp_path, grow):
    grow(tmp_path, "fear/a.mp4", "Surprise/b.mp4", "misc/c.mp4")
    listing = listing_of([tmp_path], "tree", "basic7")
    assert sorted(c.label for c in listing.clips) == ["fear", "surprise"]
    assert [f.clip for f in listing.failures] == ["misc/c"]
    assert listing.labels.name == "basic7"


@pytest.mark.parametrize(
    "names, said",
    [
        (["train/joy/a.mp4", "joy/a.mp4"], r"split folders \(train\) beside others \(joy\)"),
        (["a.mp4"], "has no class folder"),
        (["joy/a.txt"], "no media files"),
        (["0/a.mp4", "1/a.mp4"], "class ids need their names"),
    ],
)
def test_other_folders_are_refused_in_one_line(tmp_path, names, said, grow):
    with pytest.raises(TextualizeError, match=said):
        load_dataset("tree", grow(tmp_path, *names))


def test_a_file_or_nothing_is_no_tree(tmp_path):
    with pytest.raises(TextualizeError, match="no folder at"):
        load_dataset("tree", tmp_path / "gone")
