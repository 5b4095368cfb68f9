"""What leaks is said by the run, its card and every report; every kind of leak is found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from textualize.datasets.given import Fold, given_fold, write_folds
from textualize.datasets.published import PUBLISHED
from textualize.errors import TextualizeError
from textualize.evaluate.findings import Report
from textualize.evaluate.finished import evaluate
from textualize.evaluate.fold_leaks import fold_leaks, name_leaks
from textualize.evaluate.leaks import find_leaks, prompt_leaks
from textualize.evaluate.material import Material
from textualize.evaluate.suite import Suite, run_suite, suite_folds
from textualize.files import read_json
from textualize.finetune.recipe import load_recipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.train import train
from textualize.labels import LABEL_SETS
from textualize.types import Clip, Cue, Prompt, Record, Span, SpeakerStatistics, Track, Utterance

TRAIN = [f"s{s}c{i}" for s in range(4) for i in range(6)]
HELD = [f"s{s}c{i}" for s in (3, 4) for i in range(6, 8)]  # of which s3's share their subject


@pytest.fixture
def corpus(faces, tmp_path):
    made = faces(tmp_path / "c", 5)
    clips = [e.clip for e in made.entries()]
    fold = given_fold("published 0", TRAIN, HELD, HELD, clips, allow_overlap=True)
    write_folds(made.folder / PUBLISHED, [fold], {})
    return made


def suite(folds):
    return Suite.model_validate(
        {"title": "t", "methods": ["majority"], "folds": folds, "draws": 200}
    )


def test_leaks_of_a_published_fold_go_wherever_it_goes(corpus, tmp_path):
    said = []
    done = run_suite(
        suite("published"), corpus, tmp_path / "runs", tmp_path / "rep", say=said.append
    )
    leak = "2 of 4 validation clips share their group with training, 2 of them the label too"
    assert f"fold published 0: {leak}" in said
    assert f"fold published 0: {leak}" in done.report.warnings
    assert any("4 of 4 test clips are validation clips" in w for w in done.report.warnings)
    run = next((tmp_path / "runs").rglob("splits.json")).parent
    assert json.loads((run / "splits.json").read_text())["leaks"][0] == leak
    card = (run / "README.md").read_text()
    assert leak in card and "test clips (they leak, see below)" in card
    assert leak in RunFolder(run).environment["notes"]
    tested = [r for r in corpus.records() if r.clip.id in HELD]
    alone = evaluate([run], tested, out=tmp_path / "alone")
    assert any(leak in w for w in alone.report.warnings)
    with pytest.raises(TextualizeError, match="used 1 of these clips for train"):
        evaluate([run], [*tested, *(r for r in corpus.records() if r.clip.id == "s0c0")],
                 out=tmp_path / "seen")  # fmt: skip


def test_a_run_without_leaks_may_share_no_clip(corpus, tmp_path):
    records = {r.clip.id: r for r in corpus.records()}
    parts = [records[i] for i in TRAIN], [records[i] for i in HELD]
    with pytest.raises(TextualizeError, match="validation and test share 4 clips"):
        train("majority", *parts, tmp_path / "run", test=HELD)
    run = train("majority", *parts, tmp_path / "run", test=HELD, leaks=["4 of 4"])
    assert run.leaks == ["4 of 4"] and run.complete


def test_a_suite_takes_every_preset(corpus):
    records = corpus.records()
    assert len(suite_folds(suite("loso"), records)) == 5
    assert len(suite_folds(suite("grouped"), records)) == 4
    assert len(suite_folds(suite(2), records)) == 2
    beside = corpus.folder / PUBLISHED
    assert [f.name for f in suite_folds(suite(str(beside)), records)] == ["published 0"]
    assert suite_folds(suite("published"), records, beside) == suite_folds(
        suite(None), records, beside
    )
    with pytest.raises(TextualizeError, match="folds should be a number"):
        suite_folds(suite("best"), records)


# --- each kind, planted in what is clean --------------------------------------------------------

LABELS = LABEL_SETS["basic7"]
SENTENCES = ("we went to the market at noon", "my brother called about the garden again",
             "there is no bread left in the house", "the train was late for an hour",
             "nobody told them where it was", "put the letters on the table")  # fmt: skip


def spoken(clip, said, speaker=None):
    heard = (Utterance(Span(0, 1), said),) if said else ()
    return Record(clip, utterances=heard, speaker=speaker)


def records():
    """Six groups of two clips: emotions alternate, everybody says something of their own."""
    return {
        f"v{g}c{i}": spoken(
            Clip(f"v{g}c{i}", Path(f"film/v{g}.mp4"), Span(i, i + 1), group=f"v{g}",
                 label=("anger", "happiness")[i]),
            f"{SENTENCES[g]} part {('one', 'two')[i]} of {g}",
        )
        for g in range(6) for i in range(2)
    }  # fmt: skip


def parts(train=range(4), validation=(4,), test=(5,)):
    ids = [tuple(f"v{g}c{i}" for g in part for i in range(2)) for part in (train, validation, test)]
    return Fold("1", *ids)


def sought(known, fold=None, runs=None, media=None):
    fold = fold or parts()
    material = replace(Material.of(known.values()), media=media or {})
    tested = [known[i] for i in fold.test]
    return find_leaks(material, [fold], tested, LABELS, runs or {})


@pytest.fixture
def run(tmp_path):
    def trained(known, fold, method="bag-of-words", **settings):
        chosen = load_recipe(method, [f"{k}={v}" for k, v in settings.items()])
        return train(
            chosen, [known[i] for i in fold.train], [known[i] for i in fold.validation],
            tmp_path / "run", labels=LABELS, test=fold.test,
        ).path  # fmt: skip

    return trained


def kinds(found, severity="leak"):
    return {x.kind for x in found if x.severity == severity}


def test_a_clean_corpus_yields_none(run):
    known = records()
    where = run(known, parts())
    assert sought(known, runs={"bow": [where]}) == ()


def test_planted_overlaps_are_found_and_counted():
    known = records()
    groups = sought(known, Fold("1", ("v0c0", "v1c0"), ("v2c0", "v2c1"), ("v0c1", "v3c0")))
    (only,) = groups
    assert (only.kind, only.found, only.of, only.examples) == (
        "group across folds", 1, 2, ("v0c1",)
    )  # fmt: skip
    same = sought(known, Fold("1", ("v0c0",), ("v1c0", "v1c1"), ("v1c0", "v1c1", "v2c0")))
    assert [(x.kind, x.found, x.of) for x in same] == [("validation is test", 2, 3)]
    assert same[0].line() == "fold 1: 2 of 3 test clips are validation clips (v1c0, v1c1)"
    clip = sought(known, Fold("1", ("v0c0", "v0c1"), ("v1c0",), ("v0c0",)))
    assert kinds(clip) == {"clip across folds"}


def test_planted_texts_are_leaks_where_they_tell_the_label_and_notes_otherwise():
    known = records()
    known["v5c0"] = spoken(known["v5c0"].clip, known["v0c0"].transcript.upper() + "!")
    (leak,) = sought(known)
    assert (leak.kind, leak.severity, leak.found) == ("duplicate text", "leak", 1)
    known["v0c1"] = spoken(known["v0c1"].clip, known["v0c0"].transcript)  # said under two labels
    assert kinds(sought(known)) == set() and kinds(sought(known), "note") == {"duplicate text"}
    short = records()
    short["v5c0"], short["v0c0"] = (spoken(short[i].clip, "oh no") for i in ("v5c0", "v0c0"))
    assert [x.severity for x in sought(short)] == ["note"]


def test_planted_media_subjects_and_splits_are_found():
    known = records()
    bytes_of = {"v0c0": "ab", "v5c0": "ab", "v1c1": "cd", "v5c1": "ef"}
    (copy,) = sought(known, media=bytes_of)
    assert (copy.kind, copy.examples) == ("duplicate media", ("v5c0",))
    elsewhere = replace(known["v5c0"].clip, span=Span(7, 8))  # another stretch of the same file
    assert sought(known | {"v5c0": replace(known["v5c0"], clip=elsewhere)}, media=bytes_of) == ()
    for i in ("v0c0", "v5c1"):
        known[i] = replace(known[i], clip=replace(known[i].clip, subject="ana"))
    assert kinds(sought(known), "note") == {"subject across folds"}
    known["v1c0"] = replace(known["v1c0"], clip=replace(known["v1c0"].clip, split="test"))
    assert kinds(sought(known), "note") == {"subject across folds", "test split"}


def test_a_label_said_aloud_is_told_apart_from_one_we_write(tmp_path, run):
    known = records()
    known["v5c0"] = spoken(known["v5c0"].clip, "why are you so angry with me")
    known["v5c1"] = spoken(known["v5c1"].clip, "the gladiators unhappily saddled")  # no whole word
    where = run(known, parts())
    (note,) = sought(known, runs={"bow": [where]})
    assert (note.kind, note.severity, note.found, note.of) == ("label said", "note", 1, 2)
    assert "1 of them their own (angry)" in note.text


@pytest.mark.parametrize(
    "text, found, severity",
    [
        ("{{ transcript }} {% if 'late' in transcript %}furious{% endif %}", "label in prompt",
         "leak"),
        ("{{ transcript }} Anger or joy?", "label in prompt", "note"),
        ("{{ transcript }} v5c0", "clip named in prompt", "leak"),
        ("{{ transcript }} v5.mp4", "clip named in prompt", "leak"),
    ],
)  # fmt: skip
def test_planted_templates_are_found(tmp_path, run, text, found, severity):
    known = records()
    (tmp_path / "own.jinja").write_text(text)
    fold = parts(test=(3, 5), train=(0, 1, 2))
    where = run(known, fold, template=tmp_path / "own.jinja")
    first = sought(known, fold, {"bow": [where]})[0]
    assert (first.kind, first.severity) == (found, severity)
    assert first.where == "prompts of bow"


def test_a_label_in_a_cue_is_a_leak_and_a_sensors_guess_a_note():
    known = records()
    tested = [known["v5c0"], known["v5c1"]]
    cue = Cue("face", "observed", "the face looks Furious", None, "test")
    prompts = [Prompt(r.clip.id, f"Face: {cue.text}. said", (cue,), "t", "d") for r in tested]
    (leak,) = prompt_leaks("p", prompts, tested, LABELS)
    assert (leak.kind, leak.found) == ("label in cue", 2) and "1 of them their own" in leak.text
    guess = Track(np.ones((1, 1), np.float32), 1.0, 0.0, ("joy",), "probability", "py-feat")
    guessed = [replace(r, tracks={"emotions": guess}) for r in tested]
    plain = [Prompt(r.clip.id, "Emotions predicted: joy", (), "t", "d") for r in guessed]
    (note,) = prompt_leaks("p", plain, guessed, LABELS)
    assert (note.kind, note.severity) == ("label in cue", "note")


def test_labels_in_names_are_told_for_every_way_a_label_is_written():
    named = [
        Clip("Fearfully-Surprised/01_Fearfully-Surprised_0", None, label="fearfully surprised"),
        Clip("x1", Path("data/ANGRY/07.mp4"), label="anger"),
        Clip("x2", Path("data/angrier/08.mp4"), label="anger"),
        Clip("sad_1", None, label="happiness"),
        Clip("Other/02_Other_0", None, label="other"),
    ]
    (note,) = name_leaks(named)
    assert (note.severity, note.found, note.of) == ("note", 2, 5)
    assert note.examples == (named[0].id, "x1")


def test_demonstrations_and_statistics_of_tested_clips_are_found(run):
    known = records()
    where = run(known, parts())
    solved = {"clip": "v5c0#001", "group": "v5", "text": "t", "label": "anger"}
    (where / "prompt/demonstrations.jsonl").write_text(json.dumps(solved) + "\n")
    fitted = RunFolder(where).fitted
    ((what, (ids, may)),) = fitted.items()
    assert ids == sorted(parts().train) and may == ["train"] and "regression" in what
    every = [known[i] for part in (parts().train, parts().validation) for i in part]
    RunFolder(where).write_fitted({"scales": (every, ("train",)), "temperature": (
        [known["v4c0"]], ("train", "validation"))})  # fmt: skip
    found = sought(known, runs={"bow": [where]})
    assert [(x.kind, x.found, x.of) for x in found] == [
        ("demonstration", 1, 1), ("statistics", 2, 10)
    ]  # fmt: skip
    assert "scales were fitted on are validation clips" in found[1].text


def test_what_could_not_be_looked_at_is_told(run):
    known = records()
    where = run(known, parts())
    (where / "fitted.json").unlink()
    seen = {i: r for i, r in known.items() if i[:2] != "v0"}
    unfitted, absent = sought(seen, runs={"bow": [where]})
    assert (absent.kind, absent.found, absent.of) == ("unchecked", 2, 12)
    assert (unfitted.kind, unfitted.severity) == ("statistics", "note")


def test_statistics_of_a_tested_speaker_are_told():
    known = records()
    own = SpeakerStatistics("ana", 3, {}, {})
    known["v5c0"] = replace(known["v5c0"], speaker=own)
    (note,) = sought(known)
    assert (note.kind, note.severity, note.found) == ("statistics", "note", 1)


# Of the five published folds of C-EXPR-DB: clips of train and held out, held-out clips whose source
# video has clips in train, and those whose class occurs there with it.
C_EXPR_DB = [(98, 27, 23, 9), (99, 26, 13, 6), (99, 26, 23, 9), (101, 24, 18, 7), (103, 22, 15, 7)]


@pytest.mark.parametrize("learned, held, shared, labelled", C_EXPR_DB)
def test_figures_of_the_published_folds_are_found_in_clips_made_to_have_them(
    learned, held, shared, labelled
):
    """The annotation is not given: clips are made that overlap as the published folds do."""
    kept = [Clip(f"t{i}", None, group=f"v{i % 40}", label="sadly angry") for i in range(learned)]
    out = []
    for i in range(held):
        group = f"v{i}" if i < shared else f"new{i}"
        label = "sadly angry" if i < labelled else "sadly fearful"
        out.append(Clip(f"h{i}", None, group=group, label=label))
    ids = tuple(c.id for c in out)
    fold = Fold("published", tuple(c.id for c in kept), ids, ids)
    found = list(fold_leaks(fold, Material({c.id: c for c in (*kept, *out)})))
    groups = [x for x in found if x.kind == "group across folds"]
    assert [(x.found, x.of) for x in groups] == [(shared, held)] * 2
    assert all(f"with training, {labelled} of them the label too" in x.text for x in groups)
    (same,) = (x for x in found if x.kind == "validation is test")
    assert (same.found, same.of) == (held, held)


def test_leaks_stand_in_every_report_and_its_json(corpus, tmp_path):
    done = run_suite(suite("published"), corpus, tmp_path / "runs", tmp_path / "rep")
    found = {x.kind for x in done.report.leaks}
    assert {"group across folds", "validation is test"} <= found
    assert "group across folds" in (tmp_path / "rep/report.md").read_text()
    stored = Report.from_json(read_json(tmp_path / "rep/report.json", "report"))
    assert stored.leaks == done.report.leaks
    run = next((tmp_path / "runs").rglob("splits.json")).parent
    tested = [r for r in corpus.records() if r.clip.id in HELD]
    alone = evaluate([run], tested, out=tmp_path / "alone", corpus=corpus)
    assert found == {x.kind for x in alone.report.leaks}
    clean = run_suite(suite(2), corpus, tmp_path / "clean", tmp_path / "cleaned")
    assert clean.report.leaks == () or kinds(clean.report.leaks) == set()
