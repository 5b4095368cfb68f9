"""Adapting to a person by pictures, from a corpus to a run folder."""

import json

import numpy as np
import pytest
import torch

from textualize.baselines.fusion import FeatureMethod
from textualize.baselines.pictured import PictureMethod
from textualize.cli import run as textualize
from textualize.datasets.synthetic_faces import draw_face
from textualize.errors import TextualizeError
from textualize.evaluate.leaks import run_leaks
from textualize.evaluate.trained_run import read_run
from textualize.finetune import baseline
from textualize.finetune.recipe import parse
from textualize.finetune.train import train
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Record, Status, Track

LABELS = LabelSet("product", ("different", "same"), {})
SMALL = {"size": 32, "width": 4, "hidden": 8, "epochs": 3, "batch_size": 18, "threshold": 0.5,
         "every": 2, "lr": 0.003}  # fmt: skip


def person(name, number, clips=8, pictures=1):
    """Drawn faces in the light and the colours of one person's pictures."""
    rng = np.random.default_rng(number)
    tint, contrast = rng.uniform(0.55, 1.1, 3), np.exp(0.5 * rng.normal())
    found = []
    for i in range(clips):
        label = LABELS.labels[i // 2 % 2]  # of every other clip both
        faces = np.stack([draw_face(label, rng).pixels for _ in range(pictures)]) / 255
        pixels = ((faces**contrast * tint).clip(0.01, 1) * 255).astype(np.uint8)
        clip = Clip(f"{name}-{i:02}", None, subject=name, label=label, group=name)
        found.append(Record(clip, {"crops": Track(pixels, 5.0, 0.0, (), "pixels", "test")}))
    return found


TRAIN = [r for k in range(3) for r in person(f"s{k}", k)]
HELD = person("v", 10)
TARGET = person("t", 20)


def recipe(**settings):
    return parse({"method": "subject-msda", "pictures": "crops", **SMALL, **settings}, "test")


def trained(out, unlabelled=TARGET, learned=TRAIN, test=(), **settings):
    own = recipe(**settings)
    return train(own, learned, HELD, out, labels=LABELS, test=test, unlabelled=unlabelled)


def weights(run):
    return (run.path / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    tested = [r.clip.id for r in TARGET]
    return trained(tmp_path_factory.mktemp("people") / "run", test=tested)


def test_a_run_tells_stages_people_and_discrepancy(one):
    lines = one.metrics()
    assert [x["stage"] for x in lines] == ["source"] * 3 + ["adapt"] * 3
    assert all(x["discrepancy"] > 0 for x in lines)
    effective = one.environment["effective"]
    assert (effective["training_clips"], effective["unlabelled_clips"]) == (24, 8)
    note = "adapted to 1 subject by 8 clips without their labels; 8 of them are tested"
    assert any(note in n for n in one.environment["notes"])
    assert not list(run_leaks("subject-msda", one.path))
    assert read_run(one.path).reads == "pictures"


def test_what_is_read_back_is_of_the_kind_that_was_trained(one, tmp_path):
    method = load(one.path)
    assert isinstance(method, PictureMethod)
    assert {p.label for p in method.predict(TARGET)} <= set(LABELS.labels)
    flat = {"method": "subject-msda", "tracks": ["aus"], "hidden": 4, "epochs": 1}
    aus = Track(np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32), 5.0, 0.0,
                ("A", "B"), "deviation", "test")  # fmt: skip
    numbers = [[Record(r.clip, {"aus": aus}) for r in own] for own in (TRAIN, HELD, TARGET)]
    run = train(parse(flat, "test"), *numbers[:2], tmp_path / "run", unlabelled=numbers[2])
    assert isinstance(load(run.path), FeatureMethod) and read_run(run.path).reads == "tracks"


def test_no_label_of_the_target_is_ever_read(one, tmp_path):
    for i, label in enumerate(("same", None, "no such emotion")):
        given = [r.with_label(label) for r in TARGET]
        run = trained(tmp_path / str(i), given, test=[r.clip.id for r in TARGET])
        assert weights(run) == weights(one) and run.metrics() == one.metrics()


def test_a_killed_run_goes_on_to_the_last_bit(tmp_path, monkeypatch):
    own = {"epochs": 4, "every": 3, "patience": 4, "sources": 2, "choose": "information"}
    faces = [r for k in range(3) for r in person(f"s{k}", k, 4, 3)]
    whole = trained(tmp_path / "whole", learned=faces, **own)

    def killed(*args):
        if len(args[1].lines) == 6:  # between two makings of pseudo-labels
            raise KeyboardInterrupt
        return before(*args)

    before = baseline._one_epoch
    with monkeypatch.context() as patched:
        patched.setattr(baseline, "_one_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "killed", learned=faces, **own)
    torch.manual_seed(12345)
    run = trained(tmp_path / "killed", learned=faces, **own)
    assert run.metrics() == whole.metrics() and weights(run) == weights(whole)


def test_threads_change_nothing(one, tmp_path):
    tested = [r.clip.id for r in TARGET]
    assert weights(trained(tmp_path / "run", test=tested, workers=3)) == weights(one)


# through the command line, each person left out


def corpus(folder, people=4, clips=12):
    opened = Corpus.create(folder, LABELS, [])
    entries = []
    for k in range(people):
        for record in person(f"p{k}", k, clips):
            key = f"{record.clip.id}f"
            write_item(opened.folder, key, Item(Status("observed", "test"), dict(record.tracks)))
            entries.append(Entry(record.clip, {"face": key}))
    opened.write_entries(entries)
    return folder


def apart(made, out, target_weight):
    """Discrepancies told while adapting to the second person, through the command line."""
    settings = {**SMALL, "epochs": 8, "patience": 8, "target_weight": target_weight, "width": 8,
                "batch_size": 36, "pseudo_labels": False, "augment": "null"}  # fmt: skip
    command = ["train", "subject-msda-pictures", "--corpus", str(made), "--folds", "subjects",
               "--fold", "2", "--out", str(out)]  # fmt: skip
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    assert textualize(command) == 0
    lines = [json.loads(x) for x in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [x["discrepancy"] for x in lines if x["stage"] == "adapt"]


def test_each_person_can_be_left_out_and_adapting_brings_people_together(tmp_path):
    made, out = corpus(tmp_path / "corpus"), tmp_path / "run"
    adapted, control = apart(made, out, 3.0), apart(made, tmp_path / "control", 1e-6)
    assert np.mean(adapted[-2:]) < 0.7 * adapted[0]
    assert np.mean(adapted[-2:]) < 0.7 * np.mean(control[-2:])
    splits = json.loads((out / "splits.json").read_text("utf-8"))
    assert splits["unlabelled"] == [f"p1-{i:02}" for i in range(0, 12, 2)]
    assert splits["test"] == [f"p1-{i:02}" for i in range(1, 12, 2)]
    assert textualize(["predict", str(out), "--corpus", str(made), "--clip", "p1-01"]) == 0
    card = (out / "README.md").read_text("utf-8")
    assert "adapted to 1 subject by 6 clips without their labels; none of them is tested" in card


# what cannot be, and what is counted


def unnamed(records):
    return [Record(Clip(r.clip.id, None, label=r.clip.label), r.tracks) for r in records]


def blind(records):
    return [Record(r.clip) for r in records]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"unlabelled": []}, "adapts to clips without labels and was given none"),
        ({"unlabelled": TRAIN[:2]}, "1 subjects are learned from and adapted to .first: 's0'"),
        ({"unlabelled": unnamed(TARGET)}, "needs the subject of every clip; 8 of 8 have none"),
        ({"learned": unnamed(TRAIN)}, "needs the subject of every clip; 24 of 24 have none"),
        ({"unlabelled": blind(TARGET)}, "none of 8 records has pictures .first: no track 'crops'"),
        ({"learned": TRAIN[:8]}, "two subjects or more; 1 in training"),
        ({"unlabelled": TARGET[:1], "discrepancy": "coral"}, "1 of 4 have one .first: 't'"),
    ],
)
def test_who_cannot_be_adapted_to_is_refused_in_one_line(change, wanted, tmp_path):
    with pytest.raises(TextualizeError, match=wanted) as caught:
        trained(tmp_path / "run", **change)
    assert "\n" not in str(caught.value)


def test_people_who_show_little_and_clips_without_pictures_are_counted(tmp_path):
    one_class = [r for r in person("u", 30) if r.clip.label == "same"]
    learned = [*TRAIN, *one_class, *person("w", 31, 1), *blind(person("x", 32, 2))]
    given = [*TARGET[:5], *blind(TARGET[5:])]
    notes = trained(tmp_path / "run", given, learned, epochs=1).environment["notes"]
    for wanted in (
        "subject-msda: 1 of 6 subjects have one clip (first: 'w')",
        "subject-msda: 2 of 5 subjects learned from show one class or value only (first: 'u')",
        "subject-msda: 2 of 31 records left out: no track 'crops' (training)",
        "subject-msda: 3 of 8 records left out: no track 'crops' (unlabelled)",
        "subject-msda: adapted to 1 subject by 5 clips without their labels; none of them is "
        "tested",
    ):
        assert wanted in notes, notes
