import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.errors import TextualizeError
from textualize.evaluate.videos import per_video, score_videos


def test_errors_are_those_of_videos_not_of_clips():
    found = score_videos(
        [10, 14, 12, 12, 30], [12, 12, 12, 12, 20], ["a"] * 4 + ["b"], [12, 12, 18]
    )
    assert (found.videos, found.mae) == (2, 5.0) and found.rmse == pytest.approx(50**0.5)
    assert (found.mean_mae, found.mean_rmse) == (4.0, pytest.approx(20**0.5))
    assert found.pcc == pytest.approx(1.0)


def test_median_leaves_an_outlying_clip_alone():
    clips, videos = [5, 5, 90], ["a"] * 3
    assert per_video(clips, videos, "median") == {"a": 5.0}
    assert score_videos(clips, [5] * 3, videos, [5], "median").mae == 0


@given(
    st.lists(st.integers(0, 63), min_size=2, max_size=8), st.lists(st.integers(0, 63), min_size=1),
    st.randoms(),
)  # fmt: skip
def test_repeating_a_clip_or_mixing_the_clips_changes_nothing(numbers, training, random):
    videos = [str(i) for i in range(len(numbers))]
    once = score_videos(numbers[::-1], numbers, videos, training)
    rows = [r for r in zip(numbers[::-1], numbers, videos, strict=True) for _ in range(3)]
    random.shuffle(rows)
    again = score_videos(*(list(column) for column in zip(*rows, strict=True)), training)
    for name in ("videos", "mae", "rmse", "mean_mae", "mean_rmse"):
        assert getattr(once, name) == pytest.approx(getattr(again, name))


def test_the_mean_predictor_is_no_better_than_the_median_of_the_same_numbers():
    numbers = [0, 1, 2, 30]
    found = score_videos(numbers, numbers, list("abcd"), numbers)
    assert found.mae == 0 and found.mean_mae == np.abs(np.array(numbers) - 8.25).mean()
    assert found.mean_rmse == pytest.approx(np.std(numbers))


@pytest.mark.parametrize(
    ("given_clips", "said"),
    [
        (([1, 2], [3, 4], ["a", "a"], [1]), "video 'a' has clips of several numbers"),
        (([1, 2], [3, 3], ["a"], [1]), "2 values for clips of 1 videos"),
        (([], [], [], [1]), "need clips"),
        (([1], [1], ["a"], []), "numbers of training videos"),
        (([1], [1], ["a"], [1], "mode"), "no rule named 'mode'"),
    ],
)
def test_what_does_not_fit_is_one_line(given_clips, said):
    with pytest.raises(TextualizeError, match=said):
        score_videos(*given_clips)
