import numpy as np
import pytest

from textualize.datasets.synthetic import LABELS, ROWS, TURN, Synthetic, write_synthetic
from textualize.errors import TextualizeError


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "c"
    return write_synthetic(folder, Synthetic(train=160, validation=20, test=20)).records()


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
    assert len({r.clip.fold_group for r in records}) == 200
    assert not any(label in r.clip.id for r in records for label in LABELS.labels)


def test_a_seed_gives_the_same_clips_and_another_seed_others(tmp_path):
    few = {"train": 3, "validation": 2, "test": 2}

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
