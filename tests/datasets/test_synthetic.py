from collections import Counter

import numpy as np
import pytest

from textualize.datasets import synthetic
from textualize.datasets.folds import published_fold
from textualize.datasets.synthetic import LABELS, ROWS, TURN, Synthetic, write_synthetic
from textualize.datasets.synthetic_people import APART, COLUMNS, TOLD, people_tracks
from textualize.errors import TextualizeError

SIZES = {"train": 160, "validation": 20, "test": 20, "unlabelled": 10}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "c"
    made = write_synthetic(folder, Synthetic(**SIZES)).records()
    return [r for r in made if r.clip.split != "unlabelled"]


def levels(records, name, informative=None):
    """Mean over the clip along the direction of the signal, (clips,)."""
    rows = np.stack([r.tracks[name].values for r in records]).astype(float)
    used = rows[..., : informative or rows.shape[-1]]
    return used.sum(-1).mean(-1) / np.sqrt(used.shape[-1])


def classes(records):
    return np.array([LABELS.index(r.clip.label) for r in records])


def test_the_class_is_in_the_product_alone(records):
    a, b, y = levels(records, "visual"), levels(records, "audio"), classes(records)
    right = ((a * b > 0) == y).mean()
    assert 0.83 < right < 0.97  # all but half of the fifth in which one of the two is lost
    for alone in (a, b):
        assert abs(np.corrcoef(alone, y)[0, 1]) < 0.25


def test_synchrony_is_seen_step_by_step_and_in_part_in_the_means(records):
    y = classes(records)
    rows = [
        np.stack([r.tracks[n].values.sum(-1) for r in records])
        for n in ("visual_sync", "audio_sync")
    ]
    assert (((rows[0] * rows[1]).mean(1) > 0) == y).mean() > 0.99
    flat = rows[0].mean(1) * rows[1].mean(1)
    assert 0.6 < ((flat > 0) == y).mean() < 0.95
    assert ROWS % TURN == 0


def test_what_is_privileged_tells_more_than_its_copy(records):
    y = classes(records)
    clear = ((levels(records, "privileged") > 0) == y).mean()
    copy = ((levels(records, "copy", informative=2) > 0) == y).mean()
    assert clear > 0.97 > copy > 0.7


def test_splits_are_as_asked_and_groups_are_clips(records):
    splits = [r.clip.split for r in records]
    assert [splits.count(s) for s in ("train", "validation", "test")] == [160, 20, 20]
    assert len({r.clip.fold_group for r in records}) == len(records) == 200
    assert not any(label in r.clip.id for r in records for label in LABELS.labels)


def test_a_seed_gives_the_same_clips_and_another_seed_others(tmp_path):
    few = {"train": 3, "validation": 2, "test": 2, "unlabelled": 0}

    def values(seed, folder):
        corpus = write_synthetic(tmp_path / folder, Synthetic(seed=seed, **few))
        return np.stack([r.tracks["visual"].values for r in corpus.records()])

    first = values(0, "a")
    assert np.array_equal(first, values(0, "a")) and np.array_equal(first, values(0, "b"))
    assert not np.array_equal(first, values(1, "c"))
    with pytest.raises(TextualizeError, match="other synthetic options"):
        write_synthetic(tmp_path / "a", Synthetic(seed=5, **few))


@pytest.mark.parametrize("wrong", [{"train": 0}, {"lost": 1.5}])
def test_numbers_out_of_range_are_one_line(tmp_path, wrong):
    with pytest.raises(TextualizeError, match="synthetic: "):
        write_synthetic(tmp_path / "c", Synthetic(**wrong))


def test_clips_to_adapt_to_are_of_the_people_who_are_tested_and_of_nobody_else(
    tmp_path, monkeypatch
):
    for drawn in ("face_tracks", "video_tracks"):  # most of the time, and not asked about
        monkeypatch.setattr(synthetic, drawn, lambda *_: {})
    sizes = {"train": 90, "validation": 30, "test": 300, "unlabelled": 60}
    made = write_synthetic(tmp_path / "c", Synthetic(**sizes)).records()
    people = {
        split: Counter(r.clip.subject for r in made if r.clip.split == split) for split in sizes
    }
    assert [len(own) for own in people.values()] == [3, 1, 2, 2]
    assert set(people["train"].values()) == {30} and set(people["test"].values()) == {150}
    assert people["unlabelled"].keys() == people["test"].keys()
    assert len({p for own in people.values() for p in own}) == 6
    fold = published_fold([r.clip for r in made])
    assert set(fold.unlabelled) == {r.clip.id for r in made if r.clip.split == "unlabelled"}


def test_what_is_to_be_adapted_to_leaves_the_other_clips_as_they_are(tmp_path):
    few = {"train": 3, "validation": 2, "test": 2}
    one, other = (
        write_synthetic(tmp_path / str(n), Synthetic(**few, unlabelled=n)).records()[:7]
        for n in (0, 9)
    )
    for a, b in zip(one, other, strict=True):
        assert a.clip == b.clip
        assert a.tracks.keys() == b.tracks.keys()
        for name, track in a.tracks.items():
            np.testing.assert_array_equal(track.values, b.tracks[name].values)


def test_people_stand_apart_and_the_class_is_theirs_to_show():
    source = "test"
    rows = {"people": [], "people_aligned": []}
    for person in range(6):
        rng = np.random.default_rng(person)
        for i in range(60):
            tracks = people_tracks(("different", "same")[i % 2], person, 0, rng, source)
            for name, own in rows.items():
                own.append(tracks[name].values.mean(0))
    own, aligned = (np.array(rows[n]).reshape(6, 60, COLUMNS) for n in ("people", "people_aligned"))
    classes = np.arange(60) % 2
    for x, apart in ((own, 2.5), (aligned, 0.0)):
        centres = x.mean(1)
        distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)[np.triu_indices(6, 1)]
        assert (distance > apart).all() and (apart > 0 or (distance < 1.5).all())
    told = aligned[:, classes == 1].mean(1) - aligned[:, classes == 0].mean(1)
    assert np.allclose(told[:, :TOLD].mean(), APART, atol=0.2)
    assert abs(told[:, TOLD:].mean()) < 0.2
    turned = own[:, classes == 1].mean(1) - own[:, classes == 0].mean(1)
    cosine = [np.corrcoef(a, b)[0, 1] for a, b in zip(turned, told, strict=True)]
    assert 0.5 < np.mean(cosine) < 0.95
