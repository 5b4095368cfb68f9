"""C-EXPR-DB's layout in small: three videos, five folds, test equal to validation."""

import pytest

import textualize as tz
from textualize.datasets import load_dataset
from textualize.datasets.folds import made_folds
from textualize.datasets.published import PUBLISHED, keep_published, published_folds
from textualize.errors import TextualizeError

CLASSES = ("Fearfully Surprised", "Happily Surprised", "Sadly Surprised", "Disgustedly Surprised",
           "Angrily Surprised", "Sadly Fearful", "Sadly Angry", "Other")  # fmt: skip
# video -> the classes of its clips, in order
VIDEOS = {"01": (0, 1), "02": (0, 0, 6), "03": (1,), "04": (6,), "05": (0, 7)}


def names():
    for video, classes in VIDEOS.items():
        seen = []
        for code in classes:
            dashed = CLASSES[code].replace(" ", "-")
            yield f"{dashed}/{video}_{dashed}_{seen.count(code)}", code
            seen.append(code)


@pytest.fixture
def root(tmp_path):
    top = ",".join(f'"{c}"' for c in ("begin time", "end time", *CLASSES))
    for video, classes in VIDEOS.items():
        path = tmp_path / f"annotation/{video}.csv"
        path.parent.mkdir(exist_ok=True)
        rows = [
            f'"00:00:{2 * i:02d}.000","00:00:{2 * i + 1:02d}.500",'
            + ",".join('"1"  ' if c == code else "" for c in range(8))
            for i, code in enumerate(classes)
        ]
        path.write_text("\n".join([top, *rows]) + "\n")
    for fold in range(5):
        folder = tmp_path / f"folds/split-{fold}"
        folder.mkdir(parents=True)
        for part in ("train", "val", "test"):
            lines = [f"{name},{code}" for i, (name, code) in enumerate(names())
                     if (i % 3 == fold % 3) != (part == "train")]  # fmt: skip
            (folder / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_published_lists_are_taken_as_they_are_with_their_leaks(root):
    part = tz.load_fold("c-expr-db", root, 0, folds="published")
    train, validation, test = part
    assert [c.id for c in validation] == [n for i, (n, _) in enumerate(names()) if i % 3 == 0]
    assert validation == test and len(train) + len(test) == 9
    # by hand: held are 01/0, 02/0-second, 04/6; train holds clips of 01 and 02, and 02's class 0
    assert part.fold.leaks == (
        "2 of 3 validation clips share their group with training, 1 of them the label too",
        "2 of 3 test clips share their group with training, 1 of them the label too",
        "3 of 3 test clips are validation clips",
    )


def test_grouped_folds_of_the_same_clips_leak_nothing(root):
    parts = [tz.load_fold("c-expr-db", root, i, folds=3) for i in range(3)]
    for part in parts:
        groups = [{c.group for c in clips} for clips in part]
        assert not groups[0] & groups[1] and not (groups[0] | groups[1]) & groups[2]
        assert not part.fold.leaks
    assert sorted(c.id for p in parts for c in p.test) == sorted(n for n, _ in names())
    with pytest.raises(TextualizeError, match="index should be 0 to 2; given 3"):
        tz.load_fold("c-expr-db", root, 3, folds=3)


def test_clips_that_were_left_out_are_told(root):
    options = {"other": "false"}
    fold = tz.load_fold("c-expr-db", root, 2, folds="published", options=options).fold
    assert any("1 of the listed clips are not there (first: Other/05" in x for x in fold.leaks)


def test_a_corpus_keeps_its_published_folds(root, tmp_path):
    clips = load_dataset("c-expr-db", root).clips
    corpus = tmp_path / "corpus"
    assert keep_published("c-expr-db", root, clips, corpus) == corpus / PUBLISHED
    kept = made_folds(clips, "published", published=corpus / PUBLISHED)
    assert kept == published_folds("c-expr-db", root, clips) and len(kept) == 5
    assert keep_published("demo", root, clips, corpus) is None


def test_own_splits_of_a_dataset_without_lists(assets):
    train, validation, test = tz.load_fold("meld", assets / "data/meld_text")
    assert (len(train), len(validation), len(test)) == (9989, 1109, 0)


def test_check_and_split_tell_what_leaks(root, tmp_path):
    from textualize.corpus.check import check_source
    from textualize.corpus.opening import open_source
    from textualize.corpus.split import split_source

    report = check_source(open_source(root, "c-expr-db"))
    said = [f.text for f in report.findings if f.section == "published folds"]
    assert "published 0: 6/3/3 clips" in said
    assert any(t.startswith("published 0: 2 of 3 validation clips share") for t in said)
    made = split_source(open_source(root, "c-expr-db"), "published", tmp_path / "f.json")
    assert made.folds[0].leaks[2] == "3 of 3 test clips are validation clips"
