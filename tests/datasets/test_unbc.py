import pytest

from textualize.datasets import load_dataset
from textualize.datasets.folds import leave_one_subject_out
from textualize.errors import TextualizeError


def sequence(root, person, name, scores, labels="Frame_Labels/PSPI"):
    for folder in (f"Images/{person}/{name}", f"{labels}/{person}/{name}"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for i, score in enumerate(scores, 1):
        (root / f"Images/{person}/{name}/{name}{i:03d}.png").write_bytes(b"x")
        text = f"   {score:.7e}\n" if isinstance(score, int | float) else score
        (root / f"{labels}/{person}/{name}/{name}{i:03d}_facs.txt").write_text(text)
    return root


@pytest.mark.parametrize("labels", ["Frame_Labels/PSPI", "Sequence_Labels/Frame_Labels/PSPI"])
def test_every_frame_has_its_pain_and_its_person(tmp_path, labels):
    sequence(tmp_path, "042-aa042", "aa042t1aaaff", [0, 16, 3.0], labels)
    sequence(tmp_path, "043-bb043", "bb043t1aaaff", [1], labels)
    listing = load_dataset("unbc", tmp_path)
    assert listing.labels is None and not listing.failures and not listing.notes
    assert [c.label for c in listing.clips] == [0.0, 16.0, 3.0, 1.0]
    assert [c.subject for c in listing.clips] == ["042-aa042"] * 3 + ["043-bb043"]
    assert all(c.group == c.subject and c.video.is_file() for c in listing.clips)
    assert listing.clips[0].id == "042-aa042/aa042t1aaaff/aa042t1aaaff001"
    one = load_dataset("unbc", tmp_path, {"frames": "1"})
    assert [c.label for c in one.clips] == [16.0, 1.0]
    assert one.notes == ("2 frames left out by frames=1",)


def test_a_person_is_left_out_whole(tmp_path):
    for person in "abcd":
        for name in ("s1", "s2"):
            sequence(tmp_path, person, person + name, [0, 1, 2, 4])
    clips = load_dataset("unbc", tmp_path).clips
    folds = leave_one_subject_out(clips)
    assert [f.name for f in folds] == list("abcd")
    for fold in folds:
        assert {i[0] for i in fold.test} == {fold.name} and len(fold.test) == 8
        assert not {i[0] for i in fold.train} & {i[0] for i in (*fold.test, *fold.validation)}


def test_frames_without_a_score_are_listed(tmp_path):
    sequence(tmp_path, "a", "s", [0, "17", "x", "nan", "-1", 2])
    (tmp_path / "Frame_Labels/PSPI/a/s/s006_facs.txt").unlink()
    (tmp_path / "Images/a/empty").mkdir()
    listing = load_dataset("unbc", tmp_path)
    assert [c.label for c in listing.clips] == [0.0]
    errors = [f.error for f in listing.failures]
    assert len(errors) == 6 and "no frames" in errors[0]
    assert all("should hold a PSPI, 0 to 16; holds" in e for e in errors[1:5])
    assert "no such file" in errors[5]


def test_nothing_there_is_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="no UNBC-McMaster Images/"):
        load_dataset("unbc", tmp_path)
    (tmp_path / "Images").mkdir()
    with pytest.raises(TextualizeError, match="no UNBC-McMaster Frame_Labels/PSPI/"):
        load_dataset("unbc", tmp_path)
    (tmp_path / "Frame_Labels/PSPI").mkdir(parents=True)
    with pytest.raises(TextualizeError, match="no UNBC-McMaster sequences"):
        load_dataset("unbc", tmp_path)
