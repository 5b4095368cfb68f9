import numpy as np
import pytest

from textualize.datasets import load_dataset
from textualize.errors import TextualizeError

HEADER = "subDirectory_filePath,face_x,expression,valence,arousal\n"
EIGHT = "neutral happiness sadness surprise fear disgust anger contempt".split()


def listed(root, codes, *, lists="", images="Manually_Annotated_Images", name="training.csv"):
    (root / lists).mkdir(exist_ok=True)
    (root / images / "1").mkdir(parents=True, exist_ok=True)
    rows = []
    for i, code in enumerate(codes):
        (root / images / f"1/{name[0]}{i}.jpg").write_bytes(b"x")
        rows.append(f"1/{name[0]}{i}.jpg,0,{code},0,0\n")
    (root / lists / name).write_text(HEADER + "".join(rows))
    return root


def annotated(root, folder, codes):
    for part in ("images", "annotations"):
        (root / folder / part).mkdir(parents=True)
    for i, code in enumerate(codes):
        (root / folder / f"images/{i}.jpg").write_bytes(b"x")
        np.save(root / folder / f"annotations/{i}_exp.npy", np.array(code))
    return root


def test_both_forms_say_the_same(tmp_path):
    for form in "ab":
        (tmp_path / form).mkdir()
    listed(tmp_path / "a", range(8), lists="Manually_Annotated_file_lists",
           images="Manually_Annotated/Manually_Annotated_Images")  # fmt: skip
    listed(tmp_path / "a", [3, 4], name="validation.csv",
           images="Manually_Annotated/Manually_Annotated_Images")  # fmt: skip
    annotated(tmp_path / "b", "train_set", [str(i) for i in range(8)])
    annotated(tmp_path / "b", "val_set", [3, 4])
    for form in "ab":
        listing = load_dataset("affectnet", tmp_path / form, {"classes": "eight"})
        assert listing.labels.labels == tuple(EIGHT) and not listing.failures
        found = [(c.label, c.split) for c in listing.clips]
        assert found[:8] == [(x, "train") for x in EIGHT]
        assert found[8:] == [("surprise", "validation"), ("fear", "validation")]
        assert all(c.video.is_file() for c in listing.clips)
        assert len({c.id for c in listing.clips}) == 10


def test_what_is_no_expression_is_left_out_and_counted(tmp_path):
    listed(tmp_path, [0, 7, 7, 8, 9, 10])
    listing = load_dataset("affectnet", tmp_path)
    assert [c.label for c in listing.clips] == ["neutral"] and listing.labels.name == "basic7"
    assert listing.notes[1:] == ("5 images left out: 2 contempt, 1 no face, 1 none, 1 uncertain",)
    eight = load_dataset("affectnet", tmp_path, {"classes": "eight"})
    assert len(eight.clips) == 3 and eight.notes[1].startswith("3 images left out")


def test_rows_that_cannot_be_used_are_listed(tmp_path):
    listed(tmp_path, [0])
    with (tmp_path / "training.csv").open("a") as stream:
        stream.write("1/t0.jpg,0,1,0,0\n1/gone.jpg,0,1,0,0\n1/t0.jpg,0,11,0,0\n,0,1,0,0\n1/x.jpg\n")
    listing = load_dataset("affectnet", tmp_path)
    assert len(listing.clips) == 1
    said = ["1/t0 is given twice", "no image at", "has no label '11'", "no image at", "no label ''"]
    for number, (failed, part) in enumerate(zip(listing.failures, said, strict=True), 3):
        assert failed.error.startswith(f"training.csv: row {number}: ") and part in failed.error


def test_annotation_that_cannot_be_read_is_listed_never_unpickled(tmp_path):
    annotated(tmp_path, "train_set", [0, 1, 2])
    stored = tmp_path / "train_set/annotations"
    (stored / "0_exp.npy").unlink()
    np.save(stored / "1_exp.npy", np.array({"a": 1}, dtype=object), allow_pickle=True)
    listing = load_dataset("affectnet", tmp_path)
    assert [c.label for c in listing.clips] == ["sadness"]
    first, second = (f.error for f in listing.failures)
    assert first == "train_set/0.jpg: cannot read 0_exp.npy: no such file"
    assert "1_exp.npy" in second and "allow_pickle" in second


def test_other_columns_and_nothing_are_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="no AffectNet list"):
        load_dataset("affectnet", tmp_path)
    (tmp_path / "training.csv").write_text("path,class\n")
    with pytest.raises(TextualizeError, match="has no column subDirectory_filePath, expression"):
        load_dataset("affectnet", tmp_path)
