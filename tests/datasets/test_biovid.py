import pytest

from textualize.datasets import load_dataset
from textualize.datasets.folds import leave_one_subject_out
from textualize.errors import TextualizeError

A, B = "073109_w_28", "081609_w_40"


def frames(sample, count):
    return [f"{sample}/img_{i:05d}.jpg" for i in range(1, count + 1)]


def lists(root, **named):
    (root / "lists").mkdir(exist_ok=True)
    for name, lines in named.items():
        (root / f"lists/{name}.txt").write_text("\n".join(lines) + "\n")
    return {"lists": str(root / "lists")}


def test_videos_carry_stimulus_and_person(tmp_path, grow):
    grow(tmp_path, f"video/{A}/{A}-BL1-081.mp4", f"video/{A}/{A}-PA4-062.mp4",
         f"video/{A}/{A}-PA2-001.mp4", f"video/{B}/{B}-PA4-002.mp4", f"signals/{A}-BL1-081_bio.csv",
         f"signals/{A}-BL1-081.csv")  # fmt: skip
    listing = load_dataset("biovid", tmp_path)
    assert [(c.subject, c.label) for c in listing.clips] == [
        (A, "no pain"), (A, "pain 4"), (B, "pain 4"),
    ]  # fmt: skip
    assert listing.labels.labels == ("no pain", "pain 4") and not listing.failures
    assert listing.notes == ("1 samples of other levels left out by classes=two",)
    five = load_dataset("biovid", tmp_path, {"classes": "five"})
    assert [c.label for c in five.clips] == ["no pain", "pain 2", "pain 4", "pain 4"]
    assert len(five.labels) == 5 and not five.notes


def test_frames_are_clips_of_their_person(tmp_path, grow):
    grow(tmp_path, *frames(f"0/{A}-BL1-081", 12), *frames(f"4/{B}-PA4-001", 2))
    listing = load_dataset("biovid", tmp_path, {"frames": "3"})
    assert [c.id for c in listing.clips[:2]] == [
        f"{A}-BL1-081/img_00003", f"{A}-BL1-081/img_00007",
    ]  # fmt: skip
    assert len(listing.clips) == 5 and listing.notes == ("9 frames left out by frames=3",)
    assert all(c.group == c.subject for c in listing.clips)


def test_lists_of_samples(tmp_path, grow):
    grow(tmp_path, *frames(f"0/{A}-BL1-081", 5), *frames(f"4/{B}-PA4-001", 5))
    options = lists(tmp_path, train=[f"0/{A}-BL1-081 2 4 0"], val=[f"4/{B}-PA4-001 1 5 4"])
    listing = load_dataset("biovid", tmp_path, options)
    assert [(c.video.stem, c.split) for c in listing.clips[:3]] == [
        (f"img_0000{i}", "train") for i in (2, 3, 4)
    ]
    assert [c.split for c in listing.clips[3:]] == ["validation"] * 5
    one = {"lists": str(tmp_path / "lists/train.txt")}
    assert len(load_dataset("biovid", tmp_path, one).clips) == 3


def test_lists_of_frames_one_for_each_person(tmp_path, grow):
    grow(tmp_path, *frames(f"0/{A}-BL1-081", 3), *frames(f"4/{B}-PA4-001", 3))
    options = lists(
        tmp_path,
        **{A: [f"0/{A}-BL1-081/img_00002.jpg 0"], B: [f"4/{B}-PA4-001/img_00001.jpg 1"]},
    )
    listing = load_dataset("biovid", tmp_path, options)
    assert [(c.subject, c.label, c.split) for c in listing.clips] == [
        (A, "no pain", None), (B, "pain 4", None),
    ]  # fmt: skip


def test_lists_split_by_frames_of_a_sample_are_refused(tmp_path, grow):
    grow(tmp_path, *frames(f"4/{B}-PA4-001", 4))
    lines = [f"4/{B}-PA4-001/img_{i:05d}.jpg 1" for i in range(1, 5)]
    options = lists(tmp_path, train=lines[::2], test=lines[1::2])
    with pytest.raises(TextualizeError, match=f"'{B}-PA4-001', in test and train"):
        load_dataset("biovid", tmp_path, options)


def test_a_person_is_left_out_whole(tmp_path, grow):
    people = [f"0{i}1609_m_30" for i in range(4)]
    for person in people:
        for stimulus in ("BL1-001", "BL1-002", "PA4-001", "PA4-002"):
            grow(tmp_path, *frames(f"x/{person}-{stimulus}", 3))
    for fold in leave_one_subject_out(load_dataset("biovid", tmp_path).clips):
        others = {i[:11] for i in (*fold.train, *fold.validation)}
        assert {i[:11] for i in fold.test} == {fold.name} and fold.name not in others


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"0/{A}-BL1-081 1 3", "should be SAMPLE first last class, or FRAME class"),
        (f"0/{A}-BL1-081 1 x 0", "should be SAMPLE first last class, or FRAME class"),
        (f"0/{A}-BL1-081 1", "should name a sample"),
        ("0/other-BL1-081 1 3 0", "should name a sample"),
        (f"0/{A}-BL1-081 1 3 1", "class 1 does not go with BL1"),
        (f"0/{A}-BL1-081 1 9 0", "has 5 of the frames 1 to 9"),
        (f"0/{A}-BL1-082 1 3 0", "no folder of frames at"),
        (f"0/{A}-BL1-081/img_00009.jpg 0", "no file at"),
        (f"0/{A}-BL1-081/img_00005.jpg 0", "is given twice"),
    ],
)
def test_lines_that_cannot_be_used_are_listed(tmp_path, line, said, grow):
    grow(tmp_path, *frames(f"0/{A}-BL1-081", 5))
    options = lists(tmp_path, train=[f"0/{A}-BL1-081/img_00005.jpg 0", line])
    listing = load_dataset("biovid", tmp_path, options)
    assert [c.video.stem for c in listing.clips][0] == "img_00005"
    (only,) = listing.failures
    assert only.error.startswith("train.txt: line 2: ") and said in only.error


def test_a_sample_that_is_there_twice_or_empty_is_listed(tmp_path, grow):
    grow(tmp_path, f"a/{A}-BL1-081.mp4", *frames(f"b/{A}-BL1-081", 2))
    (tmp_path / f"b/{A}-PA4-001").mkdir()
    listing = load_dataset("biovid", tmp_path)
    assert [c.id for c in listing.clips] == [f"{A}-BL1-081"]
    assert ["is there twice" in f.error for f in listing.failures] == [True, False]
    assert "no frames" in listing.failures[1].error


def test_nothing_there_is_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="no BioVid samples"):
        load_dataset("biovid", tmp_path)
    with pytest.raises(TextualizeError, match="no list at"):
        load_dataset("biovid", tmp_path, {"lists": str(tmp_path)})
