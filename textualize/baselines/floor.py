"""What any method has to beat: one answer for all, and a bag of the prompt's words.

Both run on the light installation: no torch is imported here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from textualize.baselines.logistic import fit_logistic
from textualize.errors import TextualizeError
from textualize.evaluate import metrics
from textualize.files import read_json, write_bytes_atomic, write_json_atomic
from textualize.prompt import (
    Template,
    load_template_from,
    render_with,
    save_template,
)
from textualize.text.prompts import PromptReader
from textualize.types import Prediction, Record

if TYPE_CHECKING:
    from textualize.finetune.recipe import FloorRecipe
    from textualize.finetune.run_folder import RunFolder

# Keeps "au12", one-letter words, and the marks that tell a shout from a question; on MELD's
# transcripts the marks are worth eight points of weighted F1.
TOKEN = r"(?u)\w+|[!?.]+"
MIN_CLIPS = 2  # an n-gram of a single training clip says nothing about the next
MAX_ITERATIONS = 2000


class Majority:
    """The training labels' frequencies, or the mean of their numbers, whatever the clip."""

    def __init__(
        self, labels: Sequence[str], frequencies: Sequence[float], mean: float | None = None
    ) -> None:
        """Hold one relative frequency per label, which sum to 1; or no label and the mean."""
        self.labels = tuple(labels)
        self.frequencies = tuple(frequencies)
        self.mean = mean

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Return the most frequent label for every record (ties: the first in label order)."""
        if self.mean is not None:
            return [Prediction(r.clip.id, "majority", self.mean) for r in records]
        scores = dict(zip(self.labels, self.frequencies, strict=True))
        label = self.labels[int(np.argmax(self.frequencies))]
        return [Prediction(r.clip.id, "majority", label, scores) for r in records]

    @classmethod
    def load(cls, run: str | Path) -> Majority:
        """Return the method saved in a run folder; raises TextualizeError if it is not there."""
        about = read_json(Path(run) / "model.json", "majority model")
        return cls(about["labels"], about["frequencies"], about.get("mean"))


def train_majority(
    recipe: FloorRecipe, train: Sequence[Record], validation: Sequence[Record], run: RunFolder
) -> Majority:
    """Return the trained method after filling a begun run folder."""
    started = time.time()
    if not train:
        raise TextualizeError("majority needs training records; given none")
    labels = run.labels
    if labels.numeric:
        method = Majority((), (), float(np.mean([float(r.clip.label or 0.0) for r in train])))
        select, top = "mae", f"{method.mean:.4g}"
    else:
        counts = Counter(labels.index(r.clip.label) for r in train)
        method = Majority(labels.labels, [counts[i] / len(train) for i in range(len(labels))])
        select, top = recipe.select, method.labels[int(np.argmax(method.frequencies))]
    answers = [p.label for p in method.predict(validation)]
    score = _mae(answers, validation) if labels.numeric else _score(select, method, validation)
    about = {"labels": list(method.labels), "frequencies": list(method.frequencies)}
    write_json_atomic(run.path / "model.json", about | {"mean": method.mean})
    run.write_metrics([{"epoch": 1, f"validation_{select}": score, "selected": True}])
    if not labels.numeric:  # of numbers the card tells what a network says, not their mean
        run.write_validation(validation, answers)
    run.write_fitted({"class shares": (train, ("train",))})
    run.finish({"label": top, f"validation {select}": score}, [], started)
    return method


class BagOfWords:
    """TF-IDF of the prompt's n-grams (sublinear counts, unit length), then softmax(W x + b).

    idf: (V,). weights: (C, V) and bias: (C,), centred over classes, which leaves the softmax as it
    is and makes a weight readable as "for this class against the others".
    """

    def __init__(
        self,
        about: dict[str, Any],
        arrays: dict[str, NDArray[np.float64]],
        template: Template,
    ) -> None:
        """Hold the parts; `about` is what model.json keeps."""
        self.labels: tuple[str, ...] = tuple(about["labels"])
        self.about = about
        self.arrays = arrays
        self.template = template
        self.vectorizer = _vectorizer(about["ngrams"], about["vocabulary"])
        self.vectorizer.idf_ = arrays["idf"]

    def words(self, record: Record) -> str:
        """Return the prompt this method reads for a record."""
        return render_with(self.template, record).text

    def scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return class probabilities (B, C) of rendered prompts; an untrained label is 0."""
        x = self.vectorizer.transform(texts)
        logits = x @ self.arrays["weights"].T + self.arrays["bias"]
        logits = np.where(self.arrays["trained"] > 0, logits, -np.inf)
        scores = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(scores / scores.sum(1, keepdims=True))

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Return one prediction per record, in order."""
        if not records:
            return []
        return [
            Prediction(
                record.clip.id,
                "bag-of-words",
                self.labels[int(row.argmax())],
                dict(zip(self.labels, row.tolist(), strict=True)),
            )
            for record, row in zip(
                records, self.scores([self.words(r) for r in records]), strict=True
            )
        ]

    def explain(self, record: Record, label: str) -> list[tuple[str, float]]:
        """Return the record's n-grams with their weight for `label`, the strongest for it first.

        Weights add up, with the bias, to the label's logit above the mean over labels.
        """
        if label not in self.labels:
            raise TextualizeError(f"label '{label}' is none of {', '.join(self.labels)}")
        x = self.vectorizer.transform([self.words(record)]).tocoo()
        weights = self.arrays["weights"][self.labels.index(label)]
        names = self.about["vocabulary"]
        pairs = [(names[j], float(v * weights[j])) for j, v in zip(x.col, x.data, strict=True)]
        return sorted(pairs, key=lambda p: (-p[1], p[0]))

    def save(self, folder: Path) -> None:
        """Write template, model.safetensors (idf, weights, bias) and model.json (vocabulary)."""
        save_template(self.template, folder)
        write_bytes_atomic(folder / "model.safetensors", save_arrays(self.arrays))
        write_json_atomic(folder / "model.json", self.about)

    @classmethod
    def load(cls, run: str | Path) -> BagOfWords:
        """Return the method saved in a run folder; raises TextualizeError if it is damaged."""
        folder = Path(run)
        about = read_json(folder / "model.json", "bag-of-words model")
        try:
            arrays = load_arrays((folder / "model.safetensors").read_bytes())
        except (FileNotFoundError, SafetensorError) as error:
            raise TextualizeError(
                f"bag-of-words weights in {folder} are missing or damaged ({error}): train again"
            ) from None
        return cls(about, arrays, load_template_from(folder))


def train_bag_of_words(
    recipe: FloorRecipe, train: Sequence[Record], validation: Sequence[Record], run: RunFolder
) -> BagOfWords:
    """Return the trained method after filling a begun run folder.

    The strength C of the logistic regression is the one with the best validation score
    `recipe.select` (ties: the smaller C); it is fitted on the training records only.
    """
    started = time.time()
    labels = run.labels
    _check(recipe, train, validation)
    y, held_y = ([labels.index(r.clip.label) for r in own] for own in (train, validation))
    reader = PromptReader.of(recipe)
    template = reader.template
    texts, held = ([render_with(template, r).text for r in own] for own in (train, validation))
    vectorizer = _vectorizer(recipe.ngrams, None)
    x = _vectors(vectorizer, texts)
    about = {
        "labels": list(labels.labels),
        "ngrams": recipe.ngrams,
        "vocabulary": vectorizer.get_feature_names_out().tolist(),
    }
    lines: list[dict[str, Any]] = []
    tried: list[BagOfWords] = []
    notes = _notes(set(y), labels.labels, vectorizer, held)
    notes += [*reader.around(train, "train"), *reader.around(validation, "validation")]
    for strength in sorted(recipe.strengths):
        arrays = _fit(x, y, len(labels), strength, recipe.class_balanced, notes)
        arrays["idf"] = vectorizer.idf_.astype(np.float64)
        tried.append(BagOfWords({**about, "strength": strength}, arrays, template))
        predicted = tried[-1].scores(held).argmax(1)
        score = round(float(metrics.score(recipe.select, held_y, predicted, len(labels))), 4)
        lines.append({"strength": strength, f"validation_{recipe.select}": score})
    scores = [line[f"validation_{recipe.select}"] for line in lines]
    chosen = int(np.argmax(scores))
    method = tried[chosen]
    method.save(run.path)
    run.write_metrics([{**line, "selected": i == chosen} for i, line in enumerate(lines)])
    run.write_fitted({"vocabulary, word weights and regression": (train, ("train",))})
    summary = {
        "n-grams": len(about["vocabulary"]),
        "strength C": lines[chosen]["strength"],
        f"validation {recipe.select}": scores[chosen],
        "seconds": round(time.time() - started, 1),
    }
    said = tried[chosen].scores(held).argmax(1)
    run.write_validation(validation, [labels.labels[i] for i in said])
    run.finish(summary, notes, started)
    return method


def _check(recipe: FloorRecipe, train: Sequence[Record], validation: Sequence[Record]) -> None:
    if not train or not validation:
        raise TextualizeError(
            "bag-of-words needs training and validation records; given "
            f"{len(train)} and {len(validation)}"
        )
    if len({r.clip.label for r in train}) < 2:
        raise TextualizeError(
            f"bag-of-words needs at least two labels; all are '{train[0].clip.label}'"
        )
    if not recipe.strengths:
        raise TextualizeError("recipe key 'strengths' is empty: give at least one number above 0")


def _vectors(vectorizer: TfidfVectorizer, texts: Sequence[str]) -> Any:
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:
        raise TextualizeError(
            f"no n-gram is in {MIN_CLIPS} or more of the {len(texts)} training prompts: "
            "give more clips or another template"
        ) from None


def _notes(
    trained: set[int], labels: Sequence[str], vectorizer: TfidfVectorizer, held: Sequence[str]
) -> list[str]:
    unseen = [label for i, label in enumerate(labels) if i not in trained]
    empty = int((vectorizer.transform(held).getnnz(axis=1) == 0).sum())
    notes = []
    if unseen:
        notes.append(f"bag-of-words: no training clip of {', '.join(unseen)}: they score 0")
    if empty:
        notes.append(f"bag-of-words: {empty} of {len(held)} validation prompts have no known word")
    return notes


def _fit(
    x: Any, y: Sequence[int], n_classes: int, strength: float, balanced: float, notes: list[str]
) -> dict[str, NDArray[np.float64]]:
    """Return weights (C, V), bias (C,) and trained (C,) of one logistic regression."""
    count = Counter(y)
    model = LogisticRegression(
        C=strength,
        max_iter=MAX_ITERATIONS,
        class_weight={c: (len(y) / (len(count) * n)) ** balanced for c, n in count.items()},
    )
    coefficients, intercept = fit_logistic(model, x, y, "bag-of-words", notes)
    arrays = {
        "weights": np.zeros((n_classes, x.shape[1])),
        "bias": np.zeros(n_classes),
        "trained": np.zeros(n_classes),
    }
    arrays["weights"][model.classes_] = coefficients - coefficients.mean(0)
    arrays["bias"][model.classes_] = intercept - intercept.mean()
    arrays["trained"][model.classes_] = 1.0
    return arrays


def _vectorizer(ngrams: int, vocabulary: Sequence[str] | None) -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=(1, ngrams),
        sublinear_tf=True,
        min_df=MIN_CLIPS if vocabulary is None else 1,
        token_pattern=TOKEN,
        vocabulary=vocabulary,
    )


def _mae(answers: Sequence[Any], records: Sequence[Record]) -> float:
    """Return the mean absolute error on the records, rounded to 4 places; 0 without records."""
    true = [float(r.clip.label or 0.0) for r in records]
    return round(metrics.mae(answers, true), 4) if records else 0.0


def _score(select: str, method: Majority, records: Sequence[Record]) -> float:
    """Return the method's score on the records, rounded to 4 places; 0 without records."""
    if not records:
        return 0.0
    ids = [method.labels.index(str(r.clip.label)) for r in records]
    predicted = [method.labels.index(str(p.label)) for p in method.predict(records)]
    return round(float(metrics.score(select, ids, predicted, len(method.labels))), 4)
