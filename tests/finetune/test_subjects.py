"""Adapting to a person, from records to a run folder."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from textualize import speakers
from textualize.errors import TextualizeError
from textualize.evaluate.leaks import run_leaks
from textualize.finetune.feature_progress import CHECKPOINT
from textualize.finetune.recipe import parse
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.train import train
from textualize.methods import load
from textualize.types import Clip, Record, Track

EMOTIONS = ("glad", "mad", "sad")


def person(name, number, clips=18):
    """Three emotions in three columns, at a place of the person's own."""
    rng = np.random.default_rng(number)
    place, found = rng.normal(size=3), []
    for i in range(clips):
        values = rng.normal(size=(6, 3)) + 2.0 * np.eye(3)[i % 3] + place
        track = Track(values.astype(np.float32), 5.0, 0.0, ("A", "B", "C"), "deviation", "test")
        clip = Clip(f"{name}-{i:02}", None, subject=name, label=EMOTIONS[i % 3])
        found.append(Record(clip, {"aus": track}))
    return found


TRAIN = [r for k in range(4) for r in person(f"s{k}", k)]
HELD = person("v", 10)
TARGET = person("t", 20)


def recipe(**settings):
    values = {
        "tracks": ["aus"], "groups": {"visual": ["aus"]}, "hidden": 8, "epochs": 3,
        "batch_size": 24, "threshold": 0.4, "every": 2, "speaker_relative": False,
    }  # fmt: skip
    return parse({"method": "subject-msda", **values, **settings}, "test")


def weights(run):
    return (run.path / "model.safetensors").read_bytes()


def test_it_trains_predicts_and_says_to_whom_it_adapted(tmp_path):
    tested = [r.clip.id for r in TARGET[12:]]
    run = train(recipe(), TRAIN, HELD, tmp_path / "run", test=tested, unlabelled=TARGET[:12])
    lines = run.metrics()
    assert {x["stage"] for x in lines} == {"source", "adapt"}
    assert all(x["discrepancy"] > 0 for x in lines if "loss" in x)
    kept = [x["pseudo-labels"] for x in lines if x["stage"] == "adapt"]
    assert kept[0] == kept[1] > 0
    effective = run.environment["effective"]
    assert (effective["training_clips"], effective["unlabelled_clips"]) == (72, 12)
    note = "adapted to 1 subject by 12 clips without their labels; none of them is tested"
    assert any(note in n for n in run.environment["notes"])
    splits = json.loads((run.path / "splits.json").read_text("utf-8"))
    assert splits["unlabelled"] == [r.clip.id for r in TARGET[:12]]
    assert not set(splits["unlabelled"]) & {*splits["train"], *splits["validation"]}
    assert len(load(run.path).predict(TARGET)) == 18
    assert not list(run_leaks("subject-msda", run.path))


def test_the_epoch_can_be_chosen_by_what_the_answers_tell_apart(tmp_path):
    own = recipe(epochs=5, patience=5, choose="information")
    run = train(own, TRAIN, HELD, tmp_path / "run", unlabelled=TARGET)
    lines = [x for x in run.metrics() if x["stage"] == "adapt"]
    assert all("validation_macro_f1" in x for x in lines)
    best = max(lines, key=lambda x: x["criterion"])
    assert [x["epoch"] for x in lines if x["selected"]] == [best["epoch"]]
    assert "tell of the unlabelled clips apart" in (run.path / "README.md").read_text("utf-8")


def test_clips_it_adapts_to_may_be_those_asked_about_and_that_is_said(tmp_path):
    tested = [r.clip.id for r in TARGET]
    run = train(recipe(epochs=1), TRAIN, HELD, tmp_path / "run", test=tested, unlabelled=TARGET)
    assert any("18 of them are tested" in n for n in run.environment["notes"])
    assert set(run.fitted["the adaptation, without labels"][0]) == set(tested)


def test_no_label_of_the_target_is_ever_read(tmp_path):
    """Other labels, or none, and labels the corpus does not have: the same run to the last bit."""
    found = []
    for i, label in enumerate(("mad", None, "no such emotion")):
        given = [r.with_label(label) for r in TARGET]
        found.append(train(recipe(), TRAIN, HELD, tmp_path / str(i), unlabelled=given))
    found.append(train(recipe(), TRAIN, HELD, tmp_path / "true", unlabelled=TARGET))
    assert len({weights(run) for run in found}) == 1
    metrics = [run.metrics() for run in found]
    assert all(m == metrics[0] for m in metrics)


def test_an_oracle_chooses_by_labels_it_never_learns_from_and_says_so(tmp_path):
    """Whatever the labels, the epochs are the same; which one is taken follows from them."""
    every = {"epochs": 5, "patience": 5}
    fair = train(recipe(**every), TRAIN, HELD, tmp_path / "fair", unlabelled=TARGET)
    turned = [r.with_label(EMOTIONS[EMOTIONS.index(r.clip.label) - 1]) for r in TARGET]
    runs = [
        train(recipe(choose="oracle", **every), TRAIN, HELD, tmp_path / str(i), unlabelled=given)
        for i, given in enumerate((TARGET, turned))
    ]
    told = [[x for x in run.metrics() if x["stage"] == "adapt"] for run in (fair, *runs)]
    for lines in told[1:]:
        assert [x["loss"] for x in lines] == [x["loss"] for x in told[0]]
        assert all(x["criterion"] <= max(y["criterion"] for y in lines if y["selected"])
                   for x in lines)  # fmt: skip
    assert told[1][0]["criterion"] > 0.5 > told[2][0]["criterion"]
    assert not any("criterion" in x for x in told[0])
    said = "oracle: epochs chosen with labels of the person adapted to"
    for run, is_oracle in ((fair, False), (runs[0], True)):
        card = (run.path / "README.md").read_text("utf-8")
        assert (said in card) == is_oracle
        assert ("| selected by | oracle: labels of the person" in card) == is_oracle


def test_an_oracle_needs_every_label(tmp_path):
    given = [TARGET[0], TARGET[1].with_label(None)]
    with pytest.raises(TextualizeError, match="1 of 2 have none .first: t-01") as caught:
        train(recipe(choose="oracle"), TRAIN, HELD, tmp_path / "run", unlabelled=given)
    assert "\n" not in str(caught.value)


def test_the_clips_it_adapts_to_matter(tmp_path):
    one = train(recipe(), TRAIN, HELD, tmp_path / "one", unlabelled=TARGET)
    two = train(recipe(), TRAIN, HELD, tmp_path / "two", unlabelled=person("u", 30))
    assert weights(one) != weights(two)
    with pytest.raises(TextualizeError, match="another recipe, split or labels"):
        train(recipe(), TRAIN, HELD, tmp_path / "one", unlabelled=person("u", 30))


def test_a_killed_run_resumes_to_the_last_bit(tmp_path, monkeypatch):
    own = recipe(epochs=4, every=3, patience=4, sources=3, linear_start=False)
    whole = train(own, TRAIN, HELD, tmp_path / "whole", unlabelled=TARGET)
    write = RunFolder.write_metrics

    def dies(self, lines):
        write(self, lines)
        if len(lines) == 6:  # in the second stage, between two makings of pseudo-labels
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_metrics", dies)
        with pytest.raises(KeyboardInterrupt):
            train(own, TRAIN, HELD, tmp_path / "killed", unlabelled=TARGET)
    assert (tmp_path / "killed" / CHECKPOINT).is_file()
    torch.manual_seed(12345)
    run = train(own, TRAIN, HELD, tmp_path / "killed", unlabelled=TARGET)
    one, two = (load_file(r.path / "model.safetensors") for r in (whole, run))
    assert run.metrics() == whole.metrics()
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_several_people_are_adapted_to_together(tmp_path):
    both = [*TARGET, *person("u", 30, clips=5)]
    run = train(recipe(epochs=1), TRAIN, HELD, tmp_path / "run", unlabelled=both)
    assert any("adapted to 2 subjects by 23 clips" in n for n in run.environment["notes"])


def test_a_person_with_statistics_of_their_own_is_related_to_them(tmp_path):
    own = recipe(speaker_relative=True, epochs=1)
    attached = speakers.attach([*TRAIN, *HELD, *TARGET])
    parts = attached[:72], attached[72:90]
    moved = [_moved(r, 100.0) for r in TARGET]
    run = train(own, *parts, tmp_path / "one", unlabelled=attached[90:])
    two = train(own, *parts, tmp_path / "two", unlabelled=speakers.attach(moved))
    one, other = (load_file(r.path / "model.safetensors") for r in (run, two))
    assert all(torch.allclose(one[k], other[k], atol=1e-2) for k in one)
    assert Counter(run.environment["notes"]) == Counter(two.environment["notes"])


def _moved(record, by):
    track = record.tracks["aus"]
    return replace(record, tracks={"aus": replace(track, values=track.values + np.float32(by))})


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], "adapts to clips without labels and was given none: give --folds subjects"),
        (TRAIN[:3], "1 subjects are learned from and adapted to .first: 's0'."),
        (HELD[:3], "1 subjects are learned from and adapted to .first: 'v'."),
        (
            [replace(r, clip=replace(r.clip, subject=None)) for r in TARGET],
            "needs the subject of every clip; 18 of 18 have none .first: t-00.",
        ),
    ],
)
def test_who_cannot_be_adapted_to_is_refused(given, wanted, tmp_path):
    with pytest.raises(TextualizeError, match=wanted) as caught:
        train(recipe(), TRAIN, HELD, tmp_path / "run", unlabelled=given)
    assert "\n" not in str(caught.value)


def test_people_who_show_little_are_counted_and_covariances_need_two_clips(tmp_path):
    learned = [*TRAIN, *(r for r in person("u", 30) if r.clip.label == "mad"), *person("w", 31, 1)]
    run = train(recipe(epochs=1), learned, HELD, tmp_path / "run", unlabelled=TARGET[:1])
    notes = run.environment["notes"]
    assert "subject-msda: 2 of 7 subjects have one clip (first: 'w')" in notes
    assert any("2 of 6 subjects learned from show one class or value only" in n for n in notes)
    whole = train(recipe(epochs=1), TRAIN, HELD, tmp_path / "whole", unlabelled=TARGET)
    assert not any("have one clip" in n or "one class" in n for n in whole.environment["notes"])
    with pytest.raises(TextualizeError, match="coral needs two clips of every subject; 2 of 7"):
        train(recipe(discrepancy="coral"), learned, HELD, tmp_path / "x", unlabelled=TARGET[:1])


def test_one_person_alone_is_no_source(tmp_path):
    with pytest.raises(TextualizeError, match="two subjects or more; 1 in training"):
        train(recipe(), TRAIN[:18], HELD, tmp_path / "run", unlabelled=TARGET)


def test_methods_that_do_not_adapt_never_see_them(tmp_path):
    own = {"method": "concat", "tracks": ["aus"], "hidden": 8, "epochs": 2}
    runs = [
        train(parse(own, "test"), TRAIN, HELD, tmp_path / str(len(given)), unlabelled=given)
        for given in ([], TARGET)
    ]
    assert weights(runs[0]) == weights(runs[1])
    assert "unlabelled" not in json.loads((runs[1].path / "splits.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"drop_stream": 0.5}, "no streams to drop"),
        ({"per_step": "v", "task": "classes"}, "leave out per_step"),
        ({"task": "values"}, "pseudo_labels are classes"),
        ({"sources": 1}, "greater than or equal to 2"),
        ({"choose": "target"}, "'source', 'information' or 'oracle'"),
        ({"threshold": 1.5}, "less than or equal to 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, wanted):
    with pytest.raises(TextualizeError, match=wanted):
        recipe(**settings)
