"""Numbers that are a video's: scored once each, beside the mean of training."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.datasets.given import Fold
from textualize.evaluate import metrics
from textualize.evaluate.answers import Answers
from textualize.evaluate.suite import Suite, run_suite
from textualize.evaluate.verify import verify_report
from textualize.evaluate.videos import (
    MEAN,
    Videos,
    per_video,
    video_answers,
    video_scores,
    videos_from_json,
    videos_of,
)
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Status, Track


def clip(name, number, video=None, group=None):
    path = Path("somewhere") / f"{video}.mp4" if video else None
    return Clip(name, path, group=group, label=number)


def method(said, true, videos):
    ids = tuple(f"c{i:03d}" for i in range(len(true)))
    made = Answers("m", ids, np.array(true, float), np.array(said, float), tuple(videos), 0)
    return made, dict(zip(ids, videos, strict=True))


def test_errors_are_those_of_videos_not_of_clips():
    own, of = method([10, 14, 12, 12, 30], [12, 12, 12, 12, 20], list("aaaab"))
    found = video_answers(own, of)
    assert found.ids == found.groups == ("a", "b")
    assert found.true.tolist() == [12, 20] and found.seeds.tolist() == [[12, 30]]
    scores = video_scores([own], Videos("file", of, {}), draws=50, seed=0)
    assert (scores.videos, scores.clips, list(scores.scores)) == (2, 5, ["m"])
    assert scores.scores["m"]["mae"].value == 5.0
    assert scores.scores["m"]["rmse"].value == pytest.approx(50**0.5)


@given(st.lists(st.integers(0, 63), min_size=2, max_size=8, unique=True), st.randoms())
def test_repeating_a_clip_or_mixing_the_clips_changes_nothing(numbers, random):
    videos = [f"v{i}" for i in range(len(numbers))]
    said = numbers[::-1]
    rows = [row for row in zip(said, numbers, videos, strict=True) for _ in range(3)]
    random.shuffle(rows)
    once, again = (
        video_scores([m], Videos("group", of, dict.fromkeys(m.ids, 9.0)), draws=10, seed=1).scores
        for m, of in (method(said, numbers, videos), method(*zip(*rows, strict=True)))
    )
    assert set(once) == set(again) == {"m", MEAN}
    for name, score in once["m"].items():
        assert again["m"][name].value == pytest.approx(score.value)
    assert once["m"]["mae"].value == pytest.approx(metrics.mae(said, numbers))
    nine = [9.0] * len(numbers)
    assert again[MEAN]["rmse"].value == pytest.approx(metrics.rmse(nine, numbers))


def test_a_video_is_a_file_of_several_clips_or_a_group_of_one_number():
    files = [clip("a", 3.0, "x"), clip("b", 3.0, "x"), clip("c", 5.0, "y")]
    assert videos_of(files, {}, []).unit == "file"
    groups = [clip("a", 3.0, "x", "p"), clip("b", 3.0, "z", "p"), clip("c", 5.0, "y", "q")]
    found = videos_of(groups, {}, [])
    assert (found.unit, found.of) == ("group", {"a": "p", "b": "p", "c": "q"})
    for no_videos in (
        [clip("a", 3.0, "x"), clip("b", 4.0, "x"), clip("c", 5.0, "y")],  # numbers of the clips
        [clip("a", 3.0, "x"), clip("b", 4.0, "z")],  # one clip each
        [Clip("a", None, group="p", label="sad"), Clip("b", None, group="p", label="sad")],
        [],
    ):
        assert videos_of(no_videos, {}, []) is None


def test_the_mean_is_of_training_videos_once_each_in_the_clips_own_fold():
    clips = [clip(f"{v}{i}", n, v) for v, n in zip("uvwx", (2.0, 4.0, 10.0, 30.0), strict=True)
             for i in range(3 if v == "u" else 2)]  # fmt: skip
    known = {c.id: c for c in clips}
    ids = {v: tuple(c.id for c in clips if c.id[0] == v) for v in "uvwx"}
    folds = [Fold("1/2", ids["u"] + ids["v"], (), ids["w"]), Fold("2/2", ids["w"], (), ids["x"])]
    means = videos_of([c for c in clips if c.id[0] in "wx"], known, folds).means
    assert means == {"w0": 3.0, "w1": 3.0, "x0": 10.0, "x1": 10.0}


def test_means_of_many_seeds():
    assert per_video(np.array([[1.0, 3.0, 6.0], [0, 0, 1]]), list("aab")).tolist() == [
        [2.0, 6.0], [0.0, 1.0]
    ]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Recordings of one person each, read in three clips; the face tells the number."""
    where = tmp_path_factory.mktemp("videos")
    made, entries, rng = Corpus.create(where / "c", None), [], np.random.default_rng(0)
    for v in range(16):
        for i in range(3):
            name, number = f"v{v}c{i}", float(3 * v)
            face = rng.normal(number / 20, 0.1, (5, 2)).astype(np.float32)
            tracks = {"aus": Track(face, 5.0, 0.0, ("AU06", "AU12"), "deviation", "test")}
            write_item(made.folder, name, Item(Status("observed", "test"), tracks))
            split = "test" if v % 2 else "validation" if v % 4 else "train"
            about = {"subject": f"p{v}", "group": f"p{v}", "label": number, "split": split}
            entries.append(Entry(Clip(name, Path(f"r{v}.mp4"), **about), {"face": name}))
    made.write_entries(entries)
    suite = Suite.model_validate({
        "title": "t", "methods": ["majority", "linear"], "folds": None, "draws": 100,
        "statistic": "mae",
        "overrides": {"linear": {"tracks": ["aus"], "speaker_relative": False}},
    })  # fmt: skip
    return run_suite(suite, made, where / "runs", where / "report", open_test=True)


def test_a_suite_scores_videos_beside_clips_on_every_page(written):
    found = written.report.videos
    assert (found.unit, found.videos, found.clips) == ("file", 8, 24)
    assert list(found.scores) == [*(r.name for r in written.report.rows), MEAN]
    clips = written.report.row("linear").scores["mae"].value
    assert found.scores["linear"]["mae"].value < clips
    assert found.scores["linear"]["mae"].value < found.scores[MEAN]["mae"].value
    assert found.scores[MEAN]["rmse"].value == pytest.approx(  # the majority answers the same
        found.scores["majority"]["rmse"].value, rel=0.2
    )
    for name in ("report.html", "report.md"):
        text = (written.folder / name).read_text("utf-8")
        assert "Over 8 videos (files; the mean of their 24 clips" in text and MEAN in text
    assert videos_from_json(json.loads(json.dumps(asdict(found)))) == found


@pytest.mark.parametrize("line", ["linear", MEAN])
def test_a_better_score_of_videos_is_found(written, tmp_path, line):
    assert verify_report(written.folder).equal
    value = json.loads((written.folder / "report.json").read_text("utf-8"))
    value["videos"]["scores"][line]["mae"]["value"] *= 0.5
    for path in written.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "report.json").write_text(json.dumps(value), "utf-8")
    found = verify_report(tmp_path)
    assert found.first == f"/videos/scores/{line}/mae/value" and found.different == 1
