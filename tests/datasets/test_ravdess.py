from collections import Counter

import pytest

from textualize.datasets import load_dataset
from textualize.errors import TextualizeError


def takes(root, *names):
    for name in names:
        path = root / f"Actor_{name[18:20]}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def test_takes_carry_actor_label_and_action_units(assets):
    listing = load_dataset("ravdess", assets / "data/ravdess")
    assert len(listing.clips) == 960 and not listing.failures and not listing.notes
    assert len({c.group for c in listing.clips}) == 16
    assert set(Counter(c.label for c in listing.clips).values()) == {128, 64}
    assert all(c.sidecars["openface"].endswith("#01" + c.id[2:]) for c in listing.clips)
    assert all(str(c.label) not in c.id for c in listing.clips)


def test_one_kind_of_action_units_is_taken_for_all(assets):
    frames = load_dataset("ravdess", assets / "data/ravdess", {"aus": "frames"})
    with_units = [c for c in frames.clips if c.sidecars]
    assert {c.subject for c in with_units} == {f"actor{n:02d}" for n in range(1, 6)}
    assert not any("#" in c.sidecars["openface"] for c in with_units)
    assert frames.notes == ("660 of 960 clips have no action units of aus=frames",)
    none = load_dataset("ravdess", assets / "data/ravdess", {"aus": "none", "egemaps": "true"})
    assert all(list(c.sidecars) == ["opensmile"] for c in none.clips) and not none.notes
    assert all(c.sidecars["opensmile"].endswith("#01" + c.id[2:]) for c in none.clips)


def test_a_take_is_one_clip_however_often_it_is_published(tmp_path):
    take, other = "-01-05-02-01-01-01", "-01-03-01-02-02-02"
    files = [f"{v}{take}.{e}" for v, e in (("01", "mp4"), ("02", "mp4"), ("03", "wav"))]
    takes(tmp_path, *files, f"02{other}.mp4", f"03{other}.wav", "03-02-04-01-01-01-01.wav")
    best = load_dataset("ravdess", tmp_path)
    assert [c.id for c in best.clips] == ["01" + take, "03" + other]
    assert best.notes == (
        "1 files are not channel=speech: left out",
        "3 files left out by variant=best",
        "2 of 2 clips have no action units of aus=clip",
    )
    assert best.clips[0].label == "angry" and best.clips[1].subject == "actor02"
    assert best.clips[1].transcript == "Dogs are sitting by the door"
    counts = {"all": 5, "audio": 2, "video": 2, "audio-video": 1}
    for variant, count in counts.items():
        assert len(load_dataset("ravdess", tmp_path, {"variant": variant}).clips) == count
    assert len(load_dataset("ravdess", tmp_path, {"channel": "both"}).clips) == 3
    assert load_dataset("ravdess", tmp_path, {"channel": "song"}).clips[0].label == "sad"


def test_files_that_are_no_takes_are_listed(tmp_path):
    takes(tmp_path, "03-01-05-02-01-01-01.wav", "03-01-05-02-01-01-01.flac")
    takes(tmp_path, "03-01-09-02-01-01-01.wav", "03-01-05-02-03-01-01.wav")
    (tmp_path / "Actor_01/notes.wav").write_bytes(b"x")
    listing = load_dataset("ravdess", tmp_path)
    assert len(listing.clips) == 1
    assert sorted(f.error.partition(": ")[2] for f in listing.failures) == [
        "03-01-05-02-01-01-01 is there twice, see " + str(listing.clips[0].video),
        "not a RAVDESS name: 03-01-05-02-01-01-01 expected",
        "not a RAVDESS name: 03-01-05-02-01-01-01 expected",
        "ravdess has no label '09' (labels: 01, 02, 03, 04, 05, 06, 07, 08)",
    ]
    with pytest.raises(TextualizeError, match="channel=song, variant=best; 1 others"):
        load_dataset("ravdess", tmp_path, {"channel": "song"})
