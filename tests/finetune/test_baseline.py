import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from textualize import speakers
from textualize.errors import TextualizeError
from textualize.evaluate import metrics
from textualize.finetune import baseline
from textualize.finetune import train as training
from textualize.finetune.baseline import train_features
from textualize.finetune.feature_progress import CHECKPOINT
from textualize.finetune.recipe import load_recipe, parse
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.predictions import read_predictions, write_predictions
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
        "steps": 4,
        "epochs": 10,
        "lr": 5e-3,
        "batch_size": 12,
        "linear_start": False,
    }
    if method == "jca":
        values["attention"] = 4
    if method == "pkdot":
        values |= {"neighbours": 4, "hallucination": [8], "epochs": 3}
    return parse({"method": method, **values, **settings}, "test")


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


@pytest.mark.parametrize("method", ["concat", "jca", "pkdot"])
@pytest.mark.parametrize("linear_start", [False, True])
def test_a_killed_run_resumes_to_the_last_bit(method, linear_start, tmp_path, monkeypatch):
    own = recipe(method, linear_start=linear_start)
    whole, _ = train(tmp_path / "whole", own)
    run, write = RunFolder(tmp_path / "killed"), RunFolder.write_metrics
    assert run.begin(own, LABELS, TRAIN, HELD)

    def dies(self, lines):
        write(self, lines)
        if len(lines) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_metrics", dies)
        with pytest.raises(KeyboardInterrupt):
            train_features(own, TRAIN, HELD, run)
    assert (run.path / CHECKPOINT).is_file()
    assert not run.complete
    torch.manual_seed(12345)  # the resumed process starts from another state
    assert run.begin(own, LABELS, TRAIN, HELD)
    train_features(own, TRAIN, HELD, run)
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


# --- stages -------------------------------------------------------------------------------------


def test_every_stage_has_its_epochs_and_one_selected(tmp_path):
    run, own = train(tmp_path / "run", recipe("pkdot", patience=2, epochs=4))
    lines, stages = run.metrics(), own.network.stages
    assert list(dict.fromkeys(x["stage"] for x in lines)) == list(stages)
    assert [x["epoch"] for x in lines] == list(range(1, len(lines) + 1))
    for stage in stages:
        own_lines = [x for x in lines if x["stage"] == stage]
        assert 1 <= len(own_lines) <= 4
        chosen = [x for x in own_lines if x["selected"]]
        assert len(chosen) == 1
        if own.network.scored(stage):
            scores = [x["validation_macro_f1"] for x in own_lines]
            assert chosen[0]["validation_macro_f1"] == max(scores)
        else:
            assert "validation_macro_f1" not in own_lines[0]
            losses = [x["validation_loss"] for x in own_lines]
            assert chosen[0]["validation_loss"] == min(losses)
    assert run.environment["summary"]["validation macro_f1"] == round(
        next(x for x in reversed(lines) if x["selected"])["validation_macro_f1"], 4
    )


def test_what_only_training_has_need_not_be_there_to_predict(tmp_path, caplog):
    _, own = train(tmp_path / "run", recipe("pkdot", epochs=1))
    seen = [Record(r.clip, {"aus": r.tracks["aus"]}, speaker=r.speaker) for r in HELD]
    with caplog.at_level(logging.WARNING):
        assert own.predict(seen) == own.predict(HELD) == load(tmp_path / "run").predict(seen)
    assert "missing" not in caplog.text


# --- the start from a linear model ----------------------------------------------------------------


@pytest.mark.parametrize("method", ["concat", "jca", "jmt", "lfan", "can"])
def test_a_network_starts_as_a_linear_model_and_is_never_chosen_worse(method, tmp_path):
    more = {"channels": [8]} if method in ("lfan", "can") else {}
    own = recipe(method, linear_start=True, epochs=3, lr=0.5, **more)
    run, found = train(tmp_path / "run", own)
    lines = run.metrics()
    assert [x["epoch"] for x in lines] == [0, 1, 2, 3]
    assert (lines[0]["start"], "loss" in lines[0]) == ("linear", False)
    key = "validation_macro_f1"
    assert lines[0][key] > 0.8
    (chosen,) = [x for x in lines if x["selected"]]
    assert chosen[key] == max(x[key] for x in lines) >= lines[0][key]
    assert run.environment["summary"]["selected epoch"] == chosen["epoch"]
    hits = [p.label == r.clip.label for p, r in zip(found.predict(HELD), HELD, strict=True)]
    assert np.mean(hits) > 0.8


def test_every_stage_that_answers_has_a_start(tmp_path):
    run, own = train(tmp_path / "run", recipe("pkdot", linear_start=True))
    starts = [x for x in run.metrics() if "start" in x]
    assert [x["stage"] for x in starts] == [s for s in own.network.stages if own.network.scored(s)]
    assert sum(x["selected"] for x in run.metrics()) == 3


def test_without_a_linear_path_nothing_is_started(tmp_path):
    run, _ = train(tmp_path / "run", recipe("jca", linear_start=True, wiring="paper", epochs=2))
    assert [x["epoch"] for x in run.metrics()] == [1, 2]


@pytest.mark.parametrize("settings", [
    {"task": "values", "per_step": "said"}, {"task": "values", "speaker_relative": False},
])  # fmt: skip
def test_numbers_start_as_ridge_regression(settings, tmp_path):
    per_clip = "per_step" not in settings
    data, held = scored(TRAIN, per_clip=per_clip), scored(HELD, per_clip=per_clip)
    own = recipe("jca", linear_start=True, epochs=1, lr=1e-6, dropout=0.0, **settings)
    run = training.train(own, data, held, tmp_path / "run")
    assert run.metrics()[0]["validation_ccc"] > 0.6


# --- values -------------------------------------------------------------------------------------


def scored(data, per_clip=True):
    """The clip's number, and its annotation per row, is what the first voice column shows."""
    found = []
    for r in data:
        rows = 2.0 + r.tracks["prosody"].values[:, :1]
        tracks = {**r.tracks, "said": Track(rows, 10.0, 0.0, ("valence",), "named", "by hand")}
        label = float(rows.mean()) if per_clip else None
        found.append(Record(replace(r.clip, label=label), tracks))
    return found


SCORED, SCORED_HELD = scored(TRAIN), scored(HELD)


@pytest.mark.parametrize("method", ["concat", "jca"])
@pytest.mark.parametrize("loss", ["mse", "ccc", "mae"])
def test_numbers_of_clips_are_learned_and_answered_with_numbers(method, loss, tmp_path):
    own = recipe(method, loss=loss, epochs=25, dropout=0.0, speaker_relative=False)
    run = training.train(own, SCORED, SCORED_HELD, tmp_path / "run")
    assert run.environment["effective"]["task"]["objective"] == loss
    assert run.environment["summary"]["validation ccc"] > 0.6
    assert (run.recipe_values["task"], run.recipe_values["select"]) == ("values", "ccc")
    answers = load(run.path).predict(SCORED_HELD)
    assert all(isinstance(p.label, float) and not p.scores for p in answers)
    true, said = [r.clip.label for r in SCORED_HELD], [p.label for p in answers]
    assert metrics.ccc(said, true) == pytest.approx(
        run.environment["summary"]["validation ccc"], abs=0.02
    )
    learned = [r.clip.label for r in SCORED]
    assert min(learned) <= min(said) and max(said) <= max(learned)
    write_predictions(tmp_path / "p.jsonl", answers)
    assert read_predictions(tmp_path / "p.jsonl") == answers
    assert "CCC" in (run.path / "README.md").read_text()


def test_values_per_step_are_a_series_on_the_clips_time(tmp_path):
    data, held = scored(TRAIN, per_clip=False), scored(HELD, per_clip=False)
    held[0] = Record(held[0].clip, {k: t for k, t in held[0].tracks.items() if k != "said"})
    own = recipe("jca", task="values", per_step="said", epochs=12, dropout=0.0, smooth_s=1.5)
    run = training.train(own, data, held, tmp_path / "run")
    assert run.environment["effective"]["task"]["objective"] == "ccc"
    assert run.environment["summary"]["validation ccc"] > 0.6
    notes = "\n".join(run.environment["notes"])
    assert "jca: 1 of 36 records without any annotation (validation)" in notes
    answers = load(run.path).predict(held)
    series = answers[1].series
    assert answers[1].label is None and series.values.shape == (4, 1)
    assert (series.names, series.rate_hz, series.start) == (("valence",), 4 / 3, 0.0)
    rough = load(run.path)
    rough.task = replace(rough.task, smooth_s=())
    rows = rough.predict(held[1:2])[0].series.values
    assert series.values[1, 0] == pytest.approx(rows[:2].mean(), abs=1e-5)  # two rows of 0.75 s
    write_predictions(tmp_path / "p.jsonl", answers)
    again = read_predictions(tmp_path / "p.jsonl")[1].series
    assert np.array_equal(again.values, series.values)
    assert (again.names, again.rate_hz, again.unit) == (series.names, series.rate_hz, "named")


def test_classes_per_step_vote_for_the_clip(tmp_path):
    def stepped(data):
        found = []
        for r in data:
            ids = np.full((30, 1), LABELS.index(r.clip.label), np.float32)
            ids[20:] = -1
            tracks = {**r.tracks, "shown": Track(ids, 10.0, 0.0, ("id",), "named", "by hand")}
            found.append(Record(r.clip, tracks, speaker=r.speaker))
        return found

    data, held = stepped(TRAIN), stepped(HELD)
    found = {}
    for votes in ("majority", "mean_probability"):
        own = recipe("jca", task="classes", per_step="shown", votes=votes, epochs=6)
        run = training.train(own, data, held, tmp_path / votes, labels=LABELS)
        found[votes] = load(run.path).predict(held)
        assert "of 144 steps without annotation (validation)" in "".join(run.environment["notes"])
    hits = [p.label == r.clip.label for p, r in zip(found["majority"], held, strict=True)]
    assert np.mean(hits) > 0.8
    for one, two in zip(found["majority"], found["mean_probability"], strict=True):
        p = two.series.values.astype(float)
        assert p.sum(1) == pytest.approx(np.ones(4), abs=1e-5)
        assert list(two.scores.values()) == pytest.approx(p.mean(0).tolist(), abs=1e-5)
        shares = np.bincount(one.series.values.argmax(1), minlength=3) / 4
        assert list(one.scores.values()) == pytest.approx(shares.tolist())


def test_a_log_is_told_an_epoch_a_minute(tmp_path, capsys, monkeypatch):
    train(tmp_path / "quick", recipe("jca", epochs=2))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(baseline, "LOG_EVERY_S", -1.0)
    run, _ = train(tmp_path / "slow", recipe("pkdot", epochs=1))
    told = " ".join(capsys.readouterr().err.split())
    for line in run.metrics():
        score = "validation macro_f1" if "validation_macro_f1" in line else "validation loss"
        assert f"pkdot {line['stage']}: epoch 1/1 loss {line['loss']:.3f} {score}" in told


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda r: r.with_label("glad"), "needs at least two labels; all training .* 'glad'"),
        (lambda r: Record(r.clip, {"aus": r.tracks["aus"]}), "none of 60 .* has 'prosody'"),
        (lambda r: blind(r), "'prosody' has no value in any of 60 training records"),
    ],
)
def test_records_that_cannot_be_learned_from_are_one_line(tmp_path, change, match):
    with pytest.raises(TextualizeError, match=match):
        train(tmp_path / "run", recipe("jca"), data=[change(r) for r in TRAIN])


def blind(record):
    voice = record.tracks["prosody"]
    unseen = replace(voice, values=np.full_like(voice.values, np.nan))
    return Record(record.clip, {**record.tracks, "prosody": unseen})


def test_a_loss_that_is_not_finite_is_one_line(tmp_path):
    with pytest.raises(TextualizeError, match=r"training loss is (nan|inf) .* lower lr"):
        train(tmp_path / "run", recipe("jca", lr=1e30))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_both_precisions_and_optimizers_learn_and_are_told(tmp_path, dtype, optimizer):
    own = recipe("jca", dtype=dtype, optimizer=optimizer, epochs=6, lr=0.02, drop_stream=0.1)
    run, method = train(tmp_path / "run", own)
    lines, about = run.metrics(), run.environment["effective"]
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert (about["dtype"], about["optimizer"].lower()) == (dtype, optimizer)
    assert (about["updates_per_epoch"], about["training_clips"]) == (5, 60)
    assert all(p.dtype == torch.float32 for p in method.network.parameters())
    assert run.environment["summary"]["MACs per clip"] > 1000
