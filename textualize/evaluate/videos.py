"""Values of videos from those of their clips, and how far off they are, beside the mean's.

A recording that is one person's one number (a depression score) is read in many clips: what counts
is the error of the video, once each. Beside it stands that of answering the mean of training
whatever is seen, which any result has to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from textualize.errors import TextualizeError, unknown
from textualize.evaluate.metrics import icc, mae, pcc, rmse

Rule = Literal["mean", "median"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True, slots=True)
class VideoScores:
    """Errors over videos, each counted once; `mean_mae` and `mean_rmse` are the mean predictor's.

    pcc and icc (ICC(3,1)) are NaN where all answers, or all videos, are the same.
    """

    videos: int
    mae: float
    rmse: float
    pcc: float
    icc: float
    mean_mae: float
    mean_rmse: float


def per_video(
    values: Sequence[float], videos: Sequence[str], rule: Rule = "mean"
) -> dict[str, float]:
    """Return one value a video, the mean or median of its clips', videos in sorted order.

    >>> per_video([1, 2, 6, 5], ["a", "a", "a", "b"], "median")
    {'a': 2.0, 'b': 5.0}

    Raises TextualizeError for another rule, or values that do not go with the videos.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    if len(values) != len(videos):
        raise TextualizeError(f"{len(values)} values for clips of {len(videos)} videos: give pairs")
    clips: dict[str, list[float]] = {}
    for value, video in zip(values, videos, strict=True):
        clips.setdefault(video, []).append(float(value))
    middle = np.mean if rule == "mean" else np.median
    return {video: float(middle(clips[video])) for video in sorted(clips)}


def score_videos(
    predicted: Sequence[float],
    true: Sequence[float],
    videos: Sequence[str],
    training: Sequence[float],
    rule: Rule = "mean",
) -> VideoScores:
    """Return the errors of a method's videos, and of answering the mean of training.

    Args:
        predicted: the answer for each clip.
        true: the number of each clip's video, the same for all clips of a video.
        videos: the video of each clip.
        training: the numbers of the training videos, once each.
        rule: how the answers of a video's clips become one.

    Raises:
        TextualizeError: no clip, no training video, or clips of one video with several numbers.
    """
    if not len(predicted) or not len(training):
        raise TextualizeError("errors of videos need clips, and numbers of training videos")
    said, known = per_video(predicted, videos, rule), per_video(true, videos)
    first = dict(zip(reversed(videos), reversed(true), strict=True))
    mixed = [v for number, v in zip(true, videos, strict=True) if number != first[v]]
    if mixed:
        raise TextualizeError(
            f"video '{mixed[0]}' has clips of several numbers: score the clips by themselves"
        )
    answers, numbers = list(said.values()), list(known.values())
    floor = [float(np.mean(training))] * len(numbers)
    return VideoScores(
        len(numbers),
        mae(answers, numbers),
        rmse(answers, numbers),
        pcc(answers, numbers),
        icc(answers, numbers),
        mae(floor, numbers),
        rmse(floor, numbers),
    )
