import json

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from textualize.datasets.folds import grouped_folds, made_folds, subject_folds
from textualize.datasets.given import Fold, given_fold, leaks, read_folds, write_folds
from textualize.errors import TextualizeError
from textualize.types import Clip

# by hand: two videos; a1 a2 a3 of film a, b1 b2 of film b, c1 of film c
LABELS = {"a1": "joy", "a2": "joy", "a3": "fear", "b1": "joy", "b2": "fear", "c1": "joy"}
CLIPS = [Clip(i, None, group=i[0], label=label) for i, label in LABELS.items()]


def test_what_leaks_is_counted():
    fold = Fold("f", ("a1", "b1"), ("a2", "a3", "c1"), ("a2", "a3", "c1"))
    assert leaks(fold, CLIPS) == (
        "2 of 3 validation clips share their group with training, 1 of them the label too",
        "2 of 3 test clips share their group with training, 1 of them the label too",
        "3 of 3 test clips are validation clips",
    )
    assert leaks(Fold("f", ("a1", "a2", "a3"), ("b1", "b2"), ("c1",)), CLIPS) == ()


def test_overlap_is_refused_with_counts_and_let_through_on_request():
    parts = (["a1", "b1"], ["a2", "c1"], ["a2", "c1"])
    with pytest.raises(TextualizeError, match="fold x: 1 of 2 validation clips share their group"):
        given_fold("x", *parts, CLIPS)
    fold = given_fold("x", *parts, CLIPS, allow_overlap=True)
    assert len(fold.leaks) == 3 and fold.train == ("a1", "b1")
    assert fold.digest == Fold("x", *map(tuple, parts)).digest


def test_ids_without_a_clip_are_refused_or_told():
    parts = (["a1", "gone"], ["b1"], ["c1"])
    with pytest.raises(TextualizeError, match=r"1 of the listed clips are not there \(first: gone"):
        given_fold("x", *parts, CLIPS)
    fold = given_fold("x", *parts, CLIPS, allow_absent=True)
    assert fold.train == ("a1",) and "not there" in fold.leaks[0]
    with pytest.raises(TextualizeError, match="train lists 'a1' twice"):
        given_fold("x", ["a1", "a1"], ["b1"], ["c1"], CLIPS)
    with pytest.raises(TextualizeError, match="empty part"):
        given_fold("x", ["a1"], [], ["c1"], CLIPS)


@settings(max_examples=50, deadline=None)
@examples(st.lists(st.sampled_from(["train", "validation", "test"]), min_size=6, max_size=6))
def test_a_fold_is_leaky_exactly_when_a_group_is_on_two_sides(where):
    parts = {p: [c.id for c, w in zip(CLIPS, where, strict=True) if w == p]
             for p in ("train", "validation", "test")}  # fmt: skip
    split = len({(i[0], p) for p, ids in parts.items() for i in ids}) > len({i[0] for i in LABELS})
    fold = Fold("f", *(tuple(ids) for ids in parts.values()))
    assert bool(leaks(fold, CLIPS)) == split


def test_folds_come_back_from_their_file(tmp_path):
    made = [Clip(f"g{g}c{i}", None, group=f"g{g}", label="ab"[i % 2])
            for g in range(6) for i in range(4)]  # fmt: skip
    folds = grouped_folds(made, 3)
    write_folds(tmp_path / "f.json", folds, {"seed": 0})
    assert read_folds(tmp_path / "f.json", made) == folds
    assert made_folds(made, str(tmp_path / "f.json")) == folds
    fewer = read_folds(tmp_path / "f.json", made[1:])
    assert all("1 of the listed clips are not there" in f.leaks[0] for f in fewer)


def test_clips_to_adapt_to_come_back_from_the_file_and_are_part_of_the_digest(tmp_path):
    made = [Clip(f"s{s}c{i}", None, subject=f"s{s}", label="ab"[i % 2])
            for s in range(4) for i in range(6)]  # fmt: skip
    path = tmp_path / "f.json"
    write_folds(path, subject_folds(made), {})
    assert read_folds(path, made) == subject_folds(made)
    fewer = read_folds(path, made[1:])  # a clip to adapt to is gone from the first fold
    assert len(fewer[0].unlabelled) == 2
    assert "1 of the listed clips are not there" in fewer[0].leaks[0]
    value = json.loads(path.read_text())
    value["folds"][0]["unlabelled"] = []
    path.write_text(json.dumps(value))
    with pytest.raises(TextualizeError, match="changed by hand"):
        read_folds(path, made)


def test_leaks_are_kept_and_hand_made_changes_are_found(tmp_path):
    path = tmp_path / "f.json"
    leaky = given_fold("x", ["a1"], ["a2"], ["c1"], CLIPS, allow_overlap=True)
    write_folds(path, [leaky], {})
    assert read_folds(path, CLIPS) == [leaky]
    value = json.loads(path.read_text())
    value["folds"][0]["leaks"] = []
    path.write_text(json.dumps(value))
    with pytest.raises(TextualizeError, match="share their group"):
        read_folds(path, CLIPS)
    value["folds"][0]["test"] = ["b1"]
    path.write_text(json.dumps(value))
    with pytest.raises(TextualizeError, match="changed by hand"):
        read_folds(path, CLIPS)
    del value["folds"][0]["test"]
    path.write_text(json.dumps(value))
    with pytest.raises(TextualizeError, match="a fold has no 'test'"):
        read_folds(path, CLIPS)
    path.write_text("{}")
    with pytest.raises(TextualizeError, match="is no file of folds"):
        read_folds(path, CLIPS)
