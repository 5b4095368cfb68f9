"""How much of what the sensors measured survives the words: wordings compared on RAVDESS.

`make words` prints the tables and, with --write FILE, puts them between the two marks in that file.
For the curve, logistic regression is cross-validated by actor among the actors a fold does not
test. With --runs, the runs of `textualize evaluate ravdess`, two registers are trained as
`bag-of-words`, predict the test parts and are compared with the features on the same clips.
"""

import argparse
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import norm
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from textualize import speakers
from textualize.baselines.floor import MIN_CLIPS, TOKEN
from textualize.datasets.folds import Fold, made_folds
from textualize.describe import caption, describe
from textualize.files import write_text_atomic
from textualize.prompt import render
from textualize.store import Corpus
from textualize.types import Cue, Record
from textualize.wording import ladder
from textualize.wording.voices import VOICES

BEGIN, END = "<!-- words -->", "<!-- /words -->"
FOLDS, PARTS = 4, 4  # as eval/ravdess.yaml; parts of the actors that are not tested
C_WORDS, C_NUMBERS, LIMIT = 10.0, 0.1, 5.0
NGRAMS = 2
NAMED = re.compile(r"(over time|^final pitch)")  # what terse says of the course of a voice
ONE_WORD = {-4: "least", -3: "hardly", -2: "little", -1: "less", 0: "usual"} | {
    1: "more", 2: "much", 3: "greatly", 4: "most"}  # fmt: skip

Texts = list[str]
Cell = tuple[str, Callable[[Sequence[Record]], Texts]]


# --- numbers ------------------------------------------------------------------------------------


def faces(record: Record) -> list[tuple[str, float]]:
    """Return every action unit's number and z-score among the person's clips."""
    z = speakers.relative(record, "aus")
    assert z is not None
    names = (n.replace("AU0", "AU") for n in record.tracks["aus"].names)
    return list(zip(names, z[0].tolist(), strict=True))


def voices(record: Record, worded: bool = False) -> list[tuple[str, float]]:
    """Return the numbers of the register "graded", or those `terse` words, as z-scores."""
    table = [(h.subject, h.track, h.column, h.functional) for h in ladder.VOICE]
    if worded:
        table = [(v.column + v.functional, v.track, v.column, v.functional) for v in VOICES]
    found = []
    for subject, name, column, functional in table:
        z = speakers.relative(record, name)
        if z is not None and column in record.tracks[name].names:
            at = speakers.FUNCTIONALS.index(functional), record.tracks[name].names.index(column)
            found.append((subject, float(np.nan_to_num(z[at]))))
    return found


def terse_numbers(record: Record) -> list[tuple[str, float]]:
    """Return the numbers that `terse` has words for."""
    return faces(record) + voices(record, worded=True)


def graded_numbers(record: Record) -> list[tuple[str, float]]:
    """Return the numbers that `graded` has words for."""
    return faces(record) + voices(record)


def matrix(records: Sequence[Record], columns: Callable[[Record], list[tuple[str, float]]]):
    """Return the z-scores of records, (N, D)."""
    return np.clip([[z for _, z in columns(r)] for r in records], -LIMIT, LIMIT)


def everything(record: Record) -> list[tuple[str, float]]:
    """Return the means of face and tempo and all functionals of the voice."""
    voice = np.nan_to_num(speakers.relative(record, "prosody")).ravel()
    tempo = np.nan_to_num(speakers.relative(record, "speech_rate"))[0]
    return [*faces(record), *(("", float(z)) for z in (*voice, *tempo))]


# --- words --------------------------------------------------------------------------------------


def product(register: str, **options) -> Callable[[Sequence[Record]], Texts]:
    """Word records as `textualize render --wording` does."""
    return lambda records: [render(r, register=register, **options).text for r in records]


def chosen_cues(register: str, keep: Callable[[list[Cue]], list[Cue]]):
    """Word records in a register, of the cues of each modality those that `keep` keeps."""

    def texts(records: Sequence[Record]) -> Texts:
        every = (
            [keep(list(describe(r, [m], register))) for m in ("prosody", "face")] for r in records
        )
        return [f"Voice: {caption(v, register)}\nFace: {caption(f, register)}" for v, f in every]

    return texts


def without_courses(cues: list[Cue]) -> list[Cue]:
    """Leave out what a voice does over the clip."""
    return [c for c in cues if not NAMED.search(c.text)]


def strongest_faces(count: int) -> Callable[[list[Cue]], list[Cue]]:
    """Keep the first action units of a face, which are the strongest."""
    return lambda cues: cues[:count] if cues and cues[0].modality == "face" else cues


def without_usual(register: str) -> Callable[[Sequence[Record]], Texts]:
    """Word records against the limits of the tables, as where a person is not known."""
    return lambda records: product(register)([replace(r, speaker=None) for r in records])


def against_everybody(register: str) -> Callable[[Sequence[Record]], Texts]:
    """Word records against all people's clips, as if they were one person's."""

    def texts(records: Sequence[Record]) -> Texts:
        one = [replace(r, clip=replace(r.clip, subject="everybody")) for r in records]
        everybody = speakers.statistics(one)["everybody"]
        return product(register)([replace(r, speaker=everybody) for r in records])

    return texts


def levels(count: int, style: str, columns=graded_numbers):
    """Word z-scores in `count` levels as frequent as each other, as rungs, one word, or a digit."""
    edges = norm.ppf(np.arange(1, count) / count)

    def said(subject: str, z: float) -> str:
        at = int(np.digitize(z, edges))
        if style == "digit":
            return f"{subject} {at + 1}"
        up = at - count // 2 + (count % 2 == 0 and at >= count // 2)
        if style == "word" or up == 0:
            return f"{subject} {ONE_WORD[up]}" if up else ""
        words = [ONE_WORD[(i + 1) * (1 if up > 0 else -1)] for i in range(abs(up))]
        return " ".join(f"{subject} {word}" for word in words)

    def texts(records: Sequence[Record]) -> Texts:
        return ["; ".join(filter(None, (said(*pair) for pair in columns(r)))) for r in records]

    return texts


def decimals(records: Sequence[Record]) -> Texts:
    """Say the z-scores themselves."""
    return ["; ".join(f"{s} {z:+.1f}" for s, z in graded_numbers(r)) for r in records]


PRODUCTS = ("`sentences`", "`terse`", "`graded`")
WORDS: list[Cell] = [
    ("`sentences`", product("sentences")),
    ("`terse`", product("terse")),
    ("`graded`", product("graded")),
    ("`terse`, 3 action units", chosen_cues("terse", strongest_faces(3))),
    ("`terse`, 6 action units", chosen_cues("terse", strongest_faces(6))),
    ("`terse`, 12 action units", chosen_cues("terse", strongest_faces(12))),
    ("`terse`, no course of the voice", chosen_cues("terse", without_courses)),
    ("`graded`, 3 action units", chosen_cues("graded", strongest_faces(3))),
    ("`graded`, 6 action units", chosen_cues("graded", strongest_faces(6))),
    ("`graded`, face alone", product("graded", modalities="V")),
    ("`graded`, voice alone", product("graded", modalities="A")),
    ("`terse`, against fixed limits", without_usual("terse")),
    ("`terse`, against everybody's clips", against_everybody("terse")),
    ("`graded`, against everybody's clips", against_everybody("graded")),
    *((f"{n} levels, rungs", levels(n, "rung")) for n in (2, 3, 5, 7, 9)),
    ("7 levels, rungs, the numbers of `terse`", levels(7, "rung", terse_numbers)),
    *((f"{n} levels, a word each", levels(n, "word")) for n in (3, 5, 7, 9)),
    ("7 levels, a digit each", levels(7, "digit")),
    ("z-scores with a decimal", decimals),
]  # fmt: skip


# --- scores -------------------------------------------------------------------------------------


def validated(fold: Fold, by_id: dict[str, Record], fitted) -> tuple[float, float]:
    """Return accuracy and macro F1 over the actors a fold does not test, actors held out."""
    records = [by_id[i] for i in (*fold.train, *fold.validation)]
    label = np.array([r.clip.label for r in records])
    actor = [r.clip.subject for r in records]
    answers = np.empty_like(label)
    for train, held in GroupKFold(PARTS).split(label, groups=actor):
        answers[held] = fitted(records, train, held, label)
    return accuracy_score(label, answers), f1_score(label, answers, average="macro")


def of_words(texts: dict[str, str], ngrams: int = NGRAMS):
    """Return how texts, by clip, answer for held-out clips."""

    def fitted(records, train, held, label):
        own = [texts[r.clip.id] for r in records]
        vectors = TfidfVectorizer(
            ngram_range=(1, ngrams), sublinear_tf=True, min_df=MIN_CLIPS, token_pattern=TOKEN
        )
        x = vectors.fit_transform([own[i] for i in train])
        model = LogisticRegression(C=C_WORDS, max_iter=1000).fit(x, label[train])
        return model.predict(vectors.transform([own[i] for i in held]))

    return fitted


def of_numbers(numbers: dict[str, np.ndarray]):
    """Return how numbers, by clip, answer for held-out clips."""

    def fitted(records, train, held, label):
        x = np.stack([numbers[r.clip.id] for r in records])
        scaler = StandardScaler().fit(x[train])
        model = LogisticRegression(C=C_NUMBERS, max_iter=1000).fit(
            scaler.transform(x[train]), label[train]
        )
        return model.predict(scaler.transform(x[held]))

    return fitted


NUMBERS: list[tuple[str, Callable[[Record], list[tuple[str, float]]]]] = [
    ("numbers worded by `terse`", terse_numbers),
    ("numbers worded by `graded`", graded_numbers),
    ("all functionals, unworded", everything),
]


def curve(records: Sequence[Record]) -> str:
    """Return the table of words per cue against validated scores."""
    by_id = {r.clip.id: r for r in records}
    folds = made_folds([r.clip for r in records], FOLDS)
    lines = []

    of_folds: dict[str, list[float]] = {}

    def add(name: str, size: str, each: str, fitted) -> None:
        by_fold = [validated(fold, by_id, fitted) for fold in folds]
        of_folds[name] = [f1 for _, f1 in by_fold]
        scores = np.mean(by_fold, axis=0)
        lines.append(f"| {name} | {size} | {each} | {scores[0]:.3f} | {scores[1]:.3f} |")
        print(lines[-1], flush=True)

    for name, columns in NUMBERS:
        x = matrix(records, columns)
        add(name, f"{x.shape[1]} numbers", "", of_numbers(dict(zip(by_id, x, strict=True))))
    for name, word in WORDS:
        texts = word(records)
        count = np.mean([len(t.split()) for t in texts])
        cues = np.mean([t.count(";") + t.count("\n") + 1 for t in texts])
        add(
            name,
            f"{count:.0f}",
            f"{count / cues:.1f}",
            of_words(dict(zip(by_id, texts, strict=True))),
        )
    head = "| wording | words a clip | words a cue | accuracy | macro F1 |\n|---|---|---|---|---|"
    said = [
        f"fold {fold.name} {max(PRODUCTS, key=lambda n, i=i: of_folds[n][i])}"
        for i, fold in enumerate(folds)
    ]
    chosen = f"The best register by each fold's own actors: {', '.join(said)}."
    print(chosen, flush=True)
    return "\n".join(["### Validated within each fold", "", head, *lines, "", chosen, ""])


# --- the test actors ----------------------------------------------------------------------------


def tested(corpus: Corpus, records: Sequence[Record], runs: Path) -> str:
    """Return the table of the wordings that are products on the test actors, against the runs."""
    from textualize.evaluate.answers import answers
    from textualize.evaluate.compare import interval, paired_difference

    said = {p.name: predictions_of(p) for p in sorted(runs.iterdir()) if p.is_dir()}
    for register in ("terse", "graded"):
        said[f"bag-of-words, {register}"] = trained(corpus, records, register)
    read = {n: answers(n, p, records, corpus.labels) for n, p in said.items() if p}
    lines = []
    for name, own in read.items():
        row = [
            f"{i.value:.3f} [{i.low:.3f}, {i.high:.3f}]"
            for i in (interval(own, s) for s in ("accuracy", "macro_f1"))
        ]
        for features in ("concat", "jca"):
            if name in ("concat", "jca") or features not in read:
                row.append("")
                continue
            d = paired_difference(own, read[features], intersect=True)
            row.append(f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]")
        lines.append(f"| `{name}` | {len(own.ids)} | " + " | ".join(row) + " |")
        print(lines[-1], flush=True)
    head = (
        "| method | clips | accuracy | macro F1 | macro F1 - `concat` | macro F1 - `jca` |\n"
        "|---|---|---|---|---|---|"
    )
    return "\n".join(["### Test actors", "", head, *lines, ""])


def predictions_of(folder: Path) -> list:
    """Return the predictions of all folds of a method, none where it has none."""
    from textualize.predictions import read_predictions

    return [p for f in sorted(folder.glob("fold*/predictions.jsonl")) for p in read_predictions(f)]


def trained(corpus: Corpus, records: Sequence[Record], register: str) -> list:
    """Return the test predictions of `bag-of-words` trained as the suite does, in a register."""
    from textualize.finetune.train import train
    from textualize.methods import load

    by_id = {r.clip.id: r for r in records}
    found = []
    for fold in made_folds([r.clip for r in records], FOLDS):
        parts = ([by_id[i] for i in part] for part in (fold.train, fold.validation))
        with tempfile.TemporaryDirectory() as folder:
            run = train(
                "bag-of-words", *parts, Path(folder) / "run", labels=corpus.labels,
                overrides=[f"wording={register}", f"ngrams={NGRAMS}"],
            )  # fmt: skip
            found += load(run.path).predict([by_id[i] for i in fold.test])
    return found


def main() -> int:
    """Print the tables; with --write put them into a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("corpora/ravdess"))
    parser.add_argument("--runs", type=Path, help="the runs of `textualize evaluate ravdess`")
    parser.add_argument("--write", type=Path, help="Markdown file with the two marks")
    parser.add_argument("--only", choices=("curve", "test"))
    given = parser.parse_args()
    if given.write and BEGIN not in given.write.read_text():
        print(f"{given.write} has no line {BEGIN}: put it where the tables go", file=sys.stderr)
        return 2
    if not (given.corpus / "records.jsonl").is_file():
        print(f"no corpus at {given.corpus}: see eval/ravdess.yaml", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    corpus = Corpus(given.corpus)
    records = corpus.records()
    parts = [] if given.only == "test" else [curve(records)]
    if given.runs and given.only != "curve":
        parts.append(tested(corpus, records, given.runs))
    if given.write:
        body = f"{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}"
        text = given.write.read_text()
        new = re.sub(f"{BEGIN}.*{END}", lambda _: body, text, flags=re.DOTALL)
        write_text_atomic(given.write, new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
