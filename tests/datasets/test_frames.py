from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.datasets.frames import check_whole, chosen_frames, frames_in
from textualize.errors import TextualizeError


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    for name in ("img_10.png", "img_9.PNG", "img_1.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in frames_in(tmp_path)] == ["img_1.jpg", "img_9.PNG", "img_10.png"]
    (tmp_path / "img_1.png").write_bytes(b"")
    with pytest.raises(TextualizeError, match="several images called img_1:"):
        frames_in(tmp_path)


def test_a_folder_without_frames_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(TextualizeError, match="no frames"):
        frames_in(tmp_path)


@given(st.integers(1, 60), st.integers(1, 60))
def test_chosen_frames_are_different_in_order_and_one_of_each_part(count, most):
    frames = [Path(str(i)) for i in range(count)]
    taken = [int(p.name) for p in chosen_frames(frames, most)]
    assert len(taken) == min(count, most) and taken == sorted(set(taken))
    if most < count:
        assert all(i * count // most <= at < (i + 1) * count / most for i, at in enumerate(taken))
    assert chosen_frames(frames, 0) == frames


def test_a_negative_number_of_frames_is_one_line():
    with pytest.raises(TextualizeError, match="given -1"):
        chosen_frames([], -1)


def test_a_split_by_frames_of_one_video_is_refused():
    check_whole([("a", "train"), ("a", "train"), ("b", "test"), ("c", None)])
    with pytest.raises(TextualizeError, match="1 videos .* 'a', in test and train"):
        check_whole([("a", "train"), ("b", "test"), ("a", "test")])
    with pytest.raises(TextualizeError, match="in none and train"):
        check_whole([("a", "train"), ("a", None)])
