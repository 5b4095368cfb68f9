import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from textualize import speakers
from textualize.errors import TextualizeError
from textualize.finetune.baseline import CHECKPOINT, train_features
from textualize.finetune.recipe import FeatureRecipe, load_recipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.types import Clip, Record, Track

LABELS = LabelSet("own", ("glad", "mad", "sad"), {})


def records(part, n, seed, shift=2.5):
    """The face shows "mad", the voice shows "sad"; each subject has an offset of their own."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        c = i % 3
        subject = f"{part}{i % 4}"
        face = rng.normal(size=(15, 3)) + 3 * (i % 4) + shift * np.array([c == 1, 0, 0])
        voice = rng.normal(size=(30, 2)) + shift * np.array([0, c == 2])
        tracks = {
            "aus": Track(face.astype(np.float32), 5.0, 0.0, ("A", "B", "C"), "deviation", "test"),
            "prosody": Track(voice.astype(np.float32), 10.0, 0.0, ("D", "E"), "named", "test"),
        }
        clip = Clip(f"{part}-{i}", None, subject=subject, label=LABELS.labels[c])
        found.append(Record(clip, tracks))
    return speakers.attach(found)


TRAIN, HELD = records("t", 60, 0), records("v", 36, 1)


def recipe(method, **settings):
    values = {
        "tracks": ["aus", "prosody"],
        "groups": {"visual": ["aus"], "audio": ["prosody"]},
        "hidden": 16,
        "attention": 4,
        "steps": 4,
        "epochs": 10,
        "lr": 5e-3,
        "batch_size": 12,
    }
    return FeatureRecipe(method=method, **{**values, **settings})


def train(folder, own, labels=LABELS, data=TRAIN, held=HELD):
    run = RunFolder(folder)
    assert run.begin(own, labels, data, held)
    return run, train_features(own, data, held, run)


@pytest.mark.parametrize("method", ["concat", "jca"])
def test_a_shift_is_learned_and_the_run_is_whole(method, tmp_path):
    run, own = train(tmp_path / "run", recipe(method))
    lines = run.metrics()
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    hits = [p.label == r.clip.label for p, r in zip(own.predict(HELD), HELD, strict=True)]
    assert np.mean(hits) > 0.8
    selected = [x for x in lines if x["selected"]]
    assert len(selected) == 1
    assert selected[0]["validation_macro_f1"] == max(x["validation_macro_f1"] for x in lines)
    assert run.complete
    assert not (run.path / "checkpoints").exists()
    assert load(run.path).predict(HELD) == own.predict(HELD)


@pytest.mark.parametrize("method", ["concat", "jca"])
def test_the_same_seed_gives_the_same_weights(method, tmp_path):
    one, _ = train(tmp_path / "one", recipe(method, epochs=2))
    two, _ = train(tmp_path / "two", recipe(method, epochs=2))
    other, _ = train(tmp_path / "other", recipe(method, epochs=2, seed=1))
    weights = [(r.path / "model.safetensors").read_bytes() for r in (one, two, other)]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


@pytest.mark.parametrize("method", ["concat", "jca"])
def test_a_killed_run_resumes_to_the_last_bit(method, tmp_path, monkeypatch):
    whole, _ = train(tmp_path / "whole", recipe(method))
    run, write = RunFolder(tmp_path / "killed"), RunFolder.write_metrics
    assert run.begin(recipe(method), LABELS, TRAIN, HELD)

    def dies(self, lines):
        write(self, lines)
        if len(lines) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_metrics", dies)
        with pytest.raises(KeyboardInterrupt):
            train_features(recipe(method), TRAIN, HELD, run)
    assert (run.path / CHECKPOINT).is_file()
    assert not run.complete
    torch.manual_seed(12345)  # the resumed process starts from another state
    assert run.begin(recipe(method), LABELS, TRAIN, HELD)
    train_features(recipe(method), TRAIN, HELD, run)
    assert run.metrics() == whole.metrics()
    one, two = (load_file(r.path / "model.safetensors") for r in (whole, run))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_patience_stops_training(tmp_path):
    noise = records("n", 48, 7, shift=0.0)
    run, _ = train(tmp_path / "run", recipe("concat", patience=2, epochs=60), data=noise)
    lines = run.metrics()
    best = next(x["epoch"] for x in lines if x["selected"])
    assert len(lines) == best + 2 < 60


def test_balanced_weights_lift_a_rare_class(tmp_path):
    rare = [r for i, r in enumerate(records("r", 150, 3, 0.7)) if i % 3 != 2 or i % 30 == 2]
    found = {}
    for balanced in (False, True):
        own = recipe("concat", class_balanced=balanced, epochs=6, select="accuracy")
        _, method = train(tmp_path / str(balanced), own, data=rare)
        found[balanced] = sum(p.scores["sad"] for p in method.predict(HELD))
    assert found[True] > 1.2 * found[False]


def test_missing_tracks_are_in_the_card(tmp_path):
    silent = [Record(TRAIN[0].clip, {"aus": TRAIN[0].tracks["aus"]}, speaker=TRAIN[0].speaker)]
    run, _ = train(tmp_path / "run", recipe("jca", epochs=1), data=silent + TRAIN[1:])
    card = (run.path / "README.md").read_text()
    assert "jca: track 'prosody' missing in 1 of 60 records (training)" in card


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="training and validation records"):
        train(tmp_path / "a", recipe("jca"), held=[])
    with pytest.raises(TextualizeError, match="not in label set"):
        train(tmp_path / "b", recipe("jca"), held=[HELD[0].with_label("bored")])


def test_the_callers_settings_come_back(tmp_path):
    torch.manual_seed(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(tmp_path / "run", recipe("concat", epochs=1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("method", ["concat", "jca"])
def test_shipped_recipes_are_valid(method):
    assert load_recipe(method).method == method
