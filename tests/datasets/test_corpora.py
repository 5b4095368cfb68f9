from collections import Counter

import pytest

from textualize.datasets import load_dataset
from textualize.errors import TextualizeError


def test_ravdess_takes_carry_actor_label_and_action_units(assets):
    listing = load_dataset("ravdess", assets / "data/ravdess")
    assert len(listing.clips) == 960 and not listing.failures
    assert len({c.group for c in listing.clips}) == 16
    assert set(Counter(c.label for c in listing.clips).values()) == {128, 64}
    assert all(c.sidecars["openface"].endswith("01-01-" + c.id[6:]) for c in listing.clips)
    assert all(str(c.label) not in c.id for c in listing.clips)


def test_meld_rows_are_joined_by_id_with_their_dialogue(assets):
    listing = load_dataset("meld", assets / "data/meld_text")
    by_split = Counter(c.split for c in listing.clips)
    assert by_split["train"] == 9989 and by_split["validation"] == 1109
    assert len({c.id for c in listing.clips}) == len(listing.clips)
    first = [c for c in listing.clips if c.group == "train_dia0"]
    assert [len(c.context) for c in first][:3] == [0, 1, 2]
    assert not any("\x92" in (c.transcript or "") for c in listing.clips)


def test_unknown_and_empty_corpora_are_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="did you mean meld"):
        load_dataset("melt", tmp_path)
    with pytest.raises(TextualizeError, match="no MELD split file"):
        load_dataset("meld", tmp_path)
    with pytest.raises(TextualizeError, match="no RAVDESS takes"):
        load_dataset("ravdess", tmp_path)
