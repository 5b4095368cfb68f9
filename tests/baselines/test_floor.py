import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from textualize.baselines.floor import (
    TOKEN,
    BagOfWords,
    Majority,
    train_bag_of_words,
    train_majority,
)
from textualize.errors import TextualizeError
from textualize.finetune.recipe import FloorRecipe, load_recipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.methods import load
from textualize.types import Clip, Record, Span, Status, Utterance

LABELS = LabelSet("own", ("calm", "glad", "mad", "sad"), {})
SAYS = {
    "glad": ["what a lovely day", "this is lovely fun", "I love this day"],
    "mad": ["get out of here", "get away from me now", "out of my sight now"],
    "sad": ["she is gone", "I miss her and she is gone", "I miss him"],
}


def records(part, copies=2, labels=("glad", "mad", "sad")):
    found = []
    for label in labels:
        for i, words in enumerate(SAYS[label] * copies):
            clip = Clip(f"{part}-{label}-{i}", None, label=label, transcript=words)
            status = {"speech": Status("observed", "sidecar")}
            found.append(Record(clip, {}, (Utterance(Span(0, 1), words),), status))
    return found


def trained(folder, labels=LABELS, only=("glad", "mad", "sad"), **settings):
    recipe = FloorRecipe(method="bag-of-words", modalities="T", **settings)
    run, train, held = RunFolder(folder), records("t", 3, only), records("v", 1, only)
    assert run.begin(recipe, labels, train, held)
    return train_bag_of_words(recipe, train, held, run), train, held, run


def test_majority_predicts_the_training_frequencies(tmp_path):
    recipe = FloorRecipe(method="majority")
    train = records("t") + records("more", 1, ("mad",))
    run, held = RunFolder(tmp_path / "run"), records("v", 1)
    run.begin(recipe, LABELS, train, held)
    own = train_majority(recipe, train, held, run)
    first = own.predict(held)[0]
    assert first.label == "mad"
    assert first.scores["mad"] == pytest.approx(9 / 21)
    assert sum(first.scores.values()) == pytest.approx(1)
    assert run.complete
    assert load(run.path).predict(held) == own.predict(held)
    assert isinstance(Majority.load(run.path), Majority)


@pytest.mark.parametrize("only", [("glad", "mad", "sad"), ("mad", "sad")])
def test_probabilities_are_those_of_scikit_learn(tmp_path, only):
    own, train, held, _ = trained(tmp_path / "run", only=only)
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 3), sublinear_tf=True, min_df=2, token_pattern=TOKEN
    )
    x = vectorizer.fit_transform([own.words(r) for r in train])
    model = LogisticRegression(C=own.about["strength"], max_iter=2000)
    model.fit(x, [LABELS.index(r.clip.label) for r in train])
    expected = np.zeros((len(held), len(LABELS)))
    expected[:, model.classes_] = model.predict_proba(
        vectorizer.transform([own.words(r) for r in held])
    )
    given = [[p.scores[label] for label in LABELS.labels] for p in own.predict(held)]
    assert np.allclose(given, expected, atol=1e-6)
    assert all(p.scores["calm"] == 0 for p in own.predict(held))


def test_loaded_without_pickle_it_is_the_same(tmp_path):
    own, _, held, run = trained(tmp_path / "run")
    again = load(run.path)
    assert isinstance(again, BagOfWords)
    assert again.predict(held) == own.predict(held)
    assert [again.predict([r])[0].label for r in held] == [r.clip.label for r in held]
    assert not [p for p in run.path.rglob("*") if p.suffix in (".pkl", ".joblib", ".pt")]


def test_the_strength_is_the_best_on_validation(tmp_path):
    _, _, _, run = trained(tmp_path / "run", strengths=[10.0, 0.1])
    lines = run.metrics()
    best = max(line["validation_macro_f1"] for line in lines)
    chosen = [line for line in lines if line["selected"]]
    assert [line["strength"] for line in lines] == [0.1, 10.0]
    assert len(chosen) == 1
    assert chosen[0]["validation_macro_f1"] == best
    assert "no training clip of calm" in (run.path / "README.md").read_text()


def test_an_explanation_adds_up_to_the_logit(tmp_path):
    own, _, held, _ = trained(tmp_path / "run")
    record = next(r for r in held if r.clip.label == "sad")
    found = own.explain(record, "sad")
    assert [w for _, w in found] == sorted((w for _, w in found), reverse=True)
    assert found[0][1] > 0
    x = own.vectorizer.transform([own.words(record)])
    row = LABELS.index("sad")
    assert sum(w for _, w in found) == pytest.approx(float((x @ own.arrays["weights"][row])[0]))
    with pytest.raises(TextualizeError, match="none of"):
        own.explain(record, "bored")


def test_tokens_keep_action_units_and_phrase_order(tmp_path):
    own, *_ = trained(tmp_path / "run")
    analyse = own.vectorizer.build_analyzer()
    assert "au12 strong" in analyse("Lip corner puller (AU12): strong.")
    assert "a" in analyse("a day")


def test_one_label_only_is_refused(tmp_path):
    with pytest.raises(TextualizeError, match="at least two labels"):
        trained(tmp_path / "run", only=("sad",))


@pytest.mark.parametrize("name", ["majority", "bag-of-words"])
def test_shipped_recipes_are_valid(name):
    assert load_recipe(name).method == name


def test_the_floor_needs_no_torch():
    code = "import sys, textualize.baselines.floor; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
