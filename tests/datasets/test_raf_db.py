import pytest

from textualize.datasets import load_dataset
from textualize.datasets.folds import published_fold
from textualize.errors import TextualizeError

LABELS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


def corpus(root, lines, images=(), kind="aligned"):
    (root / "EmoLabel").mkdir()
    (root / "EmoLabel/list_patition_label.txt").write_text("\n".join(lines) + "\n")
    (root / "Image" / kind).mkdir(parents=True)
    for name in images:
        (root / "Image" / kind / name).write_bytes(b"x")
    return root


def test_the_list_says_label_and_split(tmp_path):
    lines = [f"train_0000{i}.jpg {i}" for i in range(1, 8)] + ["test_0001.jpg 7"]
    images = [line.split(".")[0] + "_aligned.jpg" for line in lines]
    listing = load_dataset("raf-db", corpus(tmp_path, lines, images))
    assert [c.label for c in listing.clips] == [*LABELS, "neutral"]
    assert listing.labels.name == "basic7" and not listing.failures
    assert [c.split for c in listing.clips] == ["train"] * 7 + ["test"]
    assert all(c.video.is_file() and c.video.stem == f"{c.id}_aligned" for c in listing.clips)
    assert listing.notes == ("no subjects are known: folds keep files apart, not people",)


def test_choices_are_made_on_images_of_training_never_of_the_test(tmp_path):
    lines = [f"train_{i}.jpg {i % 7 + 1}" for i in range(40)] + ["test_1.jpg 1"]
    images = [line.split(".")[0] + ".jpg" for line in lines]
    root = corpus(tmp_path, lines, images, "original")
    listing = load_dataset("raf-db", root, {"images": "original"})
    fold = published_fold(listing.clips)
    assert fold.test == ("test_1",) and len(fold.validation) == 4
    assert all(i.startswith("train_") for i in (*fold.train, *fold.validation))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train_1.jpg 8", "raf-db-list has no label '8'"),
        ("train_1.jpg 0", "raf-db-list has no label '0'"),
        ("train_1.jpg", "should be an image and its class"),
        ("other_1.jpg 1", "should begin with train_ or test_"),
        ("train_2.jpg 1", "no image at"),
        ("train_0.jpg 2", "train_0 is given twice"),
    ],
)
def test_lines_that_cannot_be_used_are_listed(tmp_path, line, said):
    root = corpus(tmp_path, ["train_0.jpg 1", "", line], ["train_0_aligned.jpg"])
    listing = load_dataset("raf-db", root)
    assert [c.id for c in listing.clips] == ["train_0"]
    (only,) = listing.failures
    assert only.error.startswith("list_patition_label.txt: line 3: ") and said in only.error


def test_an_empty_list_and_none_are_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="no RAF-DB list at"):
        load_dataset("raf-db", tmp_path)
    with pytest.raises(TextualizeError, match="names no image"):
        load_dataset("raf-db", corpus(tmp_path, []))
