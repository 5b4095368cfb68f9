import pytest

from textualize.datasets import load_dataset
from textualize.datasets.folds import given_fold, grouped_folds, published_fold
from textualize.errors import TextualizeError

SEVEN = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")


def frames(video, count):
    return [f"{video}/{i:03d}.png" for i in range(1, count + 1)]


def test_videos_carry_label_and_split(tmp_path, grow):
    grow(tmp_path, *(f"Train_AFEW/{e}/{i:03d}.avi" for i, e in enumerate(SEVEN)))
    grow(tmp_path, "Val_AFEW/Happy/100.avi", "Val_AFEW/Happy/100.txt", "docs/Happy/x.avi")
    listing = load_dataset("afew", tmp_path)
    assert [c.label for c in listing.clips] == [*map(str.lower, SEVEN), "happy"]
    assert [listing.labels.index(c.label) for c in listing.clips] == [*range(7), 3]
    assert [c.split for c in listing.clips] == ["train"] * 7 + ["validation"]
    assert not listing.failures and listing.notes[1:] == ("1 files are no videos and not used",)


def test_frames_of_a_video_are_one_group(tmp_path, grow):
    grow(tmp_path, *frames("train/Sad/007", 12), *frames("val/Angry/008", 3))
    listing = load_dataset("afew", tmp_path)
    assert [c.id for c in listing.clips[:2]] == ["train/007/001", "train/007/002"]
    assert [c.group for c in listing.clips] == ["007"] * 12 + ["008"] * 3
    some = load_dataset("afew", tmp_path, {"frames": "4"})
    assert [c.video.stem for c in some.clips] == ["002", "005", "008", "011", "001", "002", "003"]
    assert some.notes[1] == "8 frames left out by frames=4"


def test_no_fold_is_split_by_frames_of_a_video(tmp_path, grow):
    names = [f for v in range(12) for f in frames(f"train/{SEVEN[v % 2]}/{v:03d}", 5)]
    clips = load_dataset("afew", grow(tmp_path, *names)).clips
    group = {c.id: c.group for c in clips}
    for fold in grouped_folds(clips, 3):
        parts = [{group[i] for i in p} for p in (fold.train, fold.validation, fold.test)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    ids = sorted(group)
    with pytest.raises(TextualizeError, match="share their group with training"):
        given_fold("by frames", ids[::2], ids[1::2], (), clips)


def test_what_is_reported_on_the_validation_split_was_not_chosen_on_it(tmp_path, grow):
    grow(tmp_path, *(f"train/{e}/{i}{e}.avi" for i in range(10) for e in SEVEN))
    grow(tmp_path, "val/Sad/v1.avi", "val/Fear/v2.avi")
    fold = published_fold(load_dataset("afew", tmp_path).clips, "validation")
    assert fold.test == ("validation/v1", "validation/v2")
    assert all(i.startswith("train/") for i in (*fold.train, *fold.validation))


def test_a_video_in_both_splits_is_refused(tmp_path, grow):
    grow(tmp_path, *frames("train/Sad/007", 2), *frames("val/Sad/007", 2))
    with pytest.raises(TextualizeError, match="'007', in train and validation"):
        load_dataset("afew", tmp_path)


def test_folders_that_cannot_be_used_are_listed(tmp_path, grow):
    grow(tmp_path, "train/Bored/1.avi", "train/Sad/2/notes.txt", "train/Sad/3.avi")
    grow(tmp_path, "train/Angry/3.avi")
    listing = load_dataset("afew", tmp_path)
    assert [(c.id, c.label) for c in listing.clips] == [("train/3", "angry")]
    said = {f.clip: f.error for f in listing.failures}
    assert "afew has no label 'Bored'" in said["train/Bored/1.avi"]
    assert "no frames (images)" in said["train/Sad/2"]
    assert "train/3 is there twice" in said["train/Sad/3.avi"]
    with pytest.raises(TextualizeError, match="no AFEW videos"):
        load_dataset("afew", tmp_path / "train")
