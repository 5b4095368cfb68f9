"""The linear floor: scikit-learn's own answer, kept and read back as a feature method."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from textualize.baselines.pooling import summarise
from textualize.errors import TextualizeError
from textualize.finetune.recipe import parse
from textualize.finetune.train import train
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.types import Clip, Record, Track

LABELS = LabelSet("own", ("glad", "mad", "sad"), {})


def records(n=60, seed=0, numbers=False, classes=3):
    """Clips whose first column tells the class, or the number."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        level = rng.normal() if numbers else float(i % classes)
        values = (rng.normal(size=(20, 3)) + [2.0 * level, 0.0, 0.0]).astype(np.float32)
        label = 3.0 + 2.0 * level if numbers else LABELS.labels[i % classes]
        track = Track(values, 10.0, 0.0, ("a", "b", "c"), "deviation", "test")
        found.append(Record(Clip(f"{seed}_{i}", None, label=label), {"aus": track}))
    return found


def recipe(**changes):
    return parse(
        {"method": "linear", "tracks": ["aus"], "speaker_relative": False} | changes, "test"
    )


def functionals(method, clips):
    data = [summarise(r, ["aus"], 8) for r in clips]
    return method.features.batch(data)[0].functionals.double().numpy()


def test_it_answers_as_scikit_learn_does(tmp_path):
    given, held, other = records(), records(30, 1), records(40, 2)
    run = train(recipe(strengths=[0.1]), given, held, tmp_path / "run", labels=LABELS)
    method = load(run.path)
    y = [LABELS.index(r.clip.label) for r in given]
    own = LogisticRegression(C=0.1, max_iter=5000).fit(functionals(method, given), y)
    expected = own.predict_proba(functionals(method, other))
    said = method.predict(other)
    found = np.array([[p.scores[label] for label in LABELS.labels] for p in said])
    assert found == pytest.approx(expected, abs=1e-4)
    assert [p.label for p in said] == [LABELS.labels[i] for i in expected.argmax(1)]
    assert {p.method for p in said} == {"linear"}


def test_numbers_are_ridge_regression(tmp_path):
    given, held, other = (records(n, s, True) for n, s in ((80, 0), (30, 1), (40, 2)))
    run = train(recipe(strengths=[0.5]), given, held, tmp_path / "run")
    method = load(run.path)
    y = np.array([r.clip.label for r in given])
    own = Ridge(alpha=2.0).fit(functionals(method, given), (y - y.mean()) / y.std())
    expected = own.predict(functionals(method, other)) * y.std() + y.mean()
    said = [p.label for p in method.predict(other)]
    assert said == pytest.approx(np.clip(expected, y.min(), y.max()), abs=1e-3)
    assert run.environment["summary"]["validation ccc"] > 0.9


def test_the_strength_is_chosen_on_validation_and_ties_regularise_more(tmp_path):
    run = train(
        recipe(strengths=[1.0, 0.3, 1e-8]), records(), records(30, 1), tmp_path / "run",
        labels=LABELS,
    )  # fmt: skip
    lines = run.metrics()
    assert [x["strength"] for x in lines] == [1e-8, 0.3, 1.0]
    scores = [x["validation_macro_f1"] for x in lines]
    assert scores[0] < scores[1] == scores[2]
    assert [x["selected"] for x in lines] == [False, True, False]


def test_two_classes_and_a_class_training_never_showed(tmp_path):
    given, held = records(classes=2), records(30, 1, classes=2)
    run = train(recipe(strengths=[0.1]), given, held, tmp_path / "run", labels=LABELS)
    said = load(run.path).predict(records(30, 2, classes=2))
    assert max(p.scores["sad"] for p in said) < 1e-12
    assert {p.label for p in said} == {"glad", "mad"}
    assert any("sad" in note for note in run.environment["notes"])


def test_a_missing_track_is_answered_from_nothing(tmp_path):
    run = train(recipe(), records(), records(30, 1), tmp_path / "run", labels=LABELS)
    (said,) = load(run.path).predict([Record(Clip("bare", None))])
    assert (
        sum(said.scores.values()) == pytest.approx(1)
        and torch.isfinite(torch.tensor(list(said.scores.values()))).all()
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"strengths": []}, "strengths"),
        ({"strengths": [0.0]}, "above 0"),
        ({"epochs": 3}, "linear has no epochs"),
        ({"hidden": 8}, "hidden"),
        ({"per_step": "va", "task": "values"}, "leave out per_step"),
    ],
)
def test_keys_without_a_meaning_are_refused(changes, message):
    with pytest.raises(TextualizeError, match=message):
        recipe(**changes)
