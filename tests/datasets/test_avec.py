import pytest

from textualize.datasets import load_dataset
from textualize.datasets.folds import grouped_folds, published_fold
from textualize.errors import TextualizeError


def scored(root, **scores):
    for user, score in scores.items():
        (root / "labels").mkdir(exist_ok=True)
        (root / f"labels/{user[1:]}_Depression.csv").write_text(f"{score}\n")
    return root


def test_recordings_carry_score_person_split_and_task(tmp_path, grow):
    scored(tmp_path, u203_1=0, u205_2=63, u207_1=14)
    grow(tmp_path, "Video/Training/Freeform/203_1_Freeform_video.mp4",
         "Video/Training/Northwind/203_1_Northwind_video.mp4",
         "Video/Development/Freeform/205_2_Freeform_video.mp4",
         "Testing/207_1_cut_combined.mp4")  # fmt: skip
    listing = load_dataset("avec", tmp_path)
    found = {c.id: (c.label, c.subject, c.split) for c in listing.clips}
    assert found == {
        "203_1_Freeform_video": (0.0, "203", "train"),
        "203_1_Northwind_video": (0.0, "203", "train"),
        "205_2_Freeform_video": (63.0, "205", "validation"),
        "207_1_cut_combined": (14.0, "207", "test"),
    }
    assert listing.labels is None and not listing.failures and not listing.notes
    assert published_fold(listing.clips).test == ("207_1_cut_combined",)
    free = load_dataset("avec", tmp_path, {"task": "freeform"})
    assert [c.id[:5] for c in free.clips] == ["205_2", "203_1"]
    assert free.notes == ("2 videos are not of task=freeform: left out",)


def test_a_person_in_two_splits_is_said_and_the_published_fold_refused(tmp_path, grow):
    scored(tmp_path, u203_1=3, u203_2=5, u205_1=6, u206_1=7)
    grow(tmp_path, "Training/203_1.mp4", "Training/205_1.mp4", "Testing/203_2.mp4",
         "Training/206_1.mp4")  # fmt: skip
    listing = load_dataset("avec", tmp_path)
    assert listing.notes == ("1 people are in several splits (first: 203): use grouped folds",)
    with pytest.raises(TextualizeError, match="1 groups are on both sides .*'203'"):
        published_fold(listing.clips)


def test_sessions_of_a_person_are_one_group_for_folds(tmp_path, grow):
    for person in range(200, 212):
        scored(tmp_path, **{f"u{person}_{s}": (person + 7 * s) % 60 for s in (1, 2)})
        grow(tmp_path, f"a/{person}_1.mp4", f"a/{person}_2.mp4")
    listing = load_dataset("avec", tmp_path)
    assert all(c.split is None for c in listing.clips)
    for fold in grouped_folds(listing.clips, 3):
        assert not {i[:3] for i in fold.train} & {i[:3] for i in (*fold.test, *fold.validation)}


def test_what_cannot_be_used_is_listed(tmp_path, grow):
    scored(tmp_path, u1_1=64, u2_1="x", u3_1=5)
    grow(tmp_path, "a/3_1.mp4", "b/3_1.mp4", "a/3_12.mp4", "a/1_1.mp4", "a/2_1_video.mp4",
         "a/4_1.mp4")  # fmt: skip
    scored_again = tmp_path / "other/4_1_Depression.csv"
    scored_again.parent.mkdir()
    scored_again.write_text("5")
    scored(tmp_path, u4_1=6)
    listing = load_dataset("avec", tmp_path)
    assert [(c.id, c.label) for c in listing.clips] == [("3_1", 5.0)]
    said = [(f.clip, f.error) for f in listing.failures]
    assert [c for c, _ in said] == [
        "1_1", "2_1", "4_1", "1_1", "2_1_video", "3_12", "4_1", "3_1",
    ]  # fmt: skip
    assert "0 to 63; holds '64'" in said[0][1] and "holds 'x'" in said[1][1]
    assert "says 5, another file 6" in said[2][1]
    assert all("has no score" in text for _, text in said[3:7])
    assert "is there twice" in said[7][1]


def test_nothing_there_is_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="no AVEC scores"):
        load_dataset("avec", tmp_path)
    with pytest.raises(TextualizeError, match="no AVEC videos"):
        load_dataset("avec", scored(tmp_path, u1_1=2))
