import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from textualize.baselines.batch import fit
from textualize.baselines.fusion import NETWORKS, FeatureMethod, build, network_class, settings_of
from textualize.baselines.pooling import summarise
from textualize.baselines.task import Task, Values
from textualize.errors import TextualizeError
from textualize.finetune.recipe import parse
from textualize.predictions import read_predictions, write_predictions
from textualize.types import Clip, Record, Span, Track

LABELS = ("glad", "mad", "sad")
TASK = Task("classes", False, 3, LABELS)
GROUPS = {"visual": ["aus"], "audio": ["prosody", "speech_rate"]}
TRACKS = ["aus", "prosody", "speech_rate"]


def records(n=12, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        face = rng.normal(size=(20, 3)).astype(np.float32)
        voice = rng.normal(size=(50, 2)).astype(np.float32)
        rate = rng.normal(size=(1, 2)).astype(np.float32)
        tracks = {
            "aus": Track(face, 10.0, 0.0, ("AU01", "AU06", "AU12"), "deviation", "test"),
            "prosody": Track(voice, 25.0, 0.0, ("f0_st", "energy_db"), "named", "test"),
            "speech_rate": Track(rate, 0.5, 0.0, ("syllables_per_s", "pauses"), "named", "test"),
        }
        found.append(Record(Clip(f"clip{i}", None, label=LABELS[i % 3]), tracks))
    return found


def method(name, groups=GROUPS):
    torch.manual_seed(0)
    clips = [summarise(r, TRACKS, 4) for r in records()]
    features = fit(clips, name, TRACKS, groups if name == "jca" else {}, 4, False)
    settings = settings_of(name, parse({"method": name, "hidden": 8}, "test"))
    return FeatureMethod(TASK, features, build(features, TASK, settings), settings)


@pytest.mark.parametrize("name", ["concat", "jca"])
def test_predictions_keep_order_sum_to_one_and_ignore_neighbours(name):
    own, held = method(name), records(5, seed=1)
    together = own.predict(held)
    assert [p.clip_id for p in together] == [r.clip.id for r in held]
    assert [own.predict([r])[0] for r in held] == together
    assert own.predict(held[::-1])[::-1] == together
    for p in together:
        assert p.method == name
        assert tuple(p.scores) == LABELS
        assert sum(p.scores.values()) == pytest.approx(1, abs=1e-12)
        assert p.label == max(p.scores, key=lambda k: p.scores[k])
    assert own.predict([]) == []


@pytest.mark.parametrize("name", ["concat", "jca"])
def test_saved_and_loaded_predicts_the_same_to_the_last_bit(name, tmp_path):
    own, held = method(name), records(5, seed=1)
    own.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    assert FeatureMethod.load(tmp_path).predict(held) == own.predict(held)


def test_weights_of_another_model_are_refused(tmp_path):
    method("jca").save(tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    method("concat").save(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(about))
    with pytest.raises(TextualizeError, match="does not belong"):
        FeatureMethod.load(tmp_path)


def test_damaged_or_missing_files_are_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="feature model not found"):
        FeatureMethod.load(tmp_path)
    method("jca").save(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TextualizeError, match="damaged"):
        FeatureMethod.load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(TextualizeError, match="no weights"):
        FeatureMethod.load(tmp_path)


def test_a_missing_track_at_prediction_is_logged_with_its_count(caplog):
    held = records(3, seed=2)
    voiceless = Record(held[0].clip, {"aus": held[0].tracks["aus"]})
    with caplog.at_level(logging.WARNING):
        found = method("jca").predict([voiceless, *held[1:]])
    assert len(found) == 3
    assert "jca: track 'prosody' missing in 1 of 3 records" in caplog.text


@pytest.mark.parametrize(
    "groups",
    [
        {"visual": ["aus"]},
        {"visual": ["aus"], "audio": ["prosody"]},
        {"visual": ["aus"], "audio": []},
        {"visual": ["aus", "gaze"], "audio": ["prosody", "speech_rate"]},
    ],
)
def test_groups_that_do_not_split_the_tracks_are_refused(groups):
    with pytest.raises(TextualizeError, match="groups"):
        method("jca", groups)


def valued(per_step=False):
    task = Task("values", per_step, 1, ("valence",), "mse", unit="intensity",
                values=Values((3.0,), (0.5,), (1.0,), (5.0,)))  # fmt: skip
    clips = [summarise(r, TRACKS, 4) for r in records()]
    features = fit(clips, "jca", TRACKS, GROUPS, 4, False)
    torch.manual_seed(0)
    return FeatureMethod(task, features, build(features, task, {}), {})


def test_a_value_of_the_clip_is_its_label():
    own, held = valued(), records(5, seed=1)
    found = own.predict(held)
    assert own.labels == ()
    for p in found:
        assert isinstance(p.label, float) and 1.0 <= p.label <= 5.0
        assert p.scores == {} and p.series is None
    assert own.predict(held[::-1])[::-1] == found


def test_values_per_step_are_a_track_over_the_clip():
    held = [replace(r, clip=replace(r.clip, span=Span(1.0, 3.0))) for r in records(2, seed=1)]
    for p in valued(per_step=True).predict(held):
        assert p.label is None and p.scores == {}
        assert p.series.values.shape == (4, 1)
        assert p.series.times.tolist() == [1.0, 1.5, 2.0, 2.5]
        assert (p.series.names, p.series.unit) == (("valence",), "intensity")


def test_predictions_with_a_series_are_read_back_as_written(tmp_path):
    found = [*valued(per_step=True).predict(records(2)), *valued().predict(records(1))]
    write_predictions(tmp_path / "p.jsonl", found)
    again = read_predictions(tmp_path / "p.jsonl")
    assert again == found
    for one, two in zip(found[:2], again[:2], strict=True):
        assert np.array_equal(one.series.values, two.series.values)
        assert repr(replace(one.series, values=0)) == repr(replace(two.series, values=0))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_options_of_a_network_are_keys_of_its_recipe(name):
    recipe = parse({"method": name}, "test")
    settings = settings_of(name, recipe)
    assert all(settings[k] == getattr(recipe, k) for k in settings)
    assert network_class(name).__name__.lower() in (name.replace("-", ""), "concat")
