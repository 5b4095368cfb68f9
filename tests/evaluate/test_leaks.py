"""What leaks in a published fold is said by the run, its card and every report on it."""

import json

import numpy as np
import pytest

from textualize.datasets.given import given_fold, write_folds
from textualize.datasets.published import PUBLISHED
from textualize.errors import TextualizeError
from textualize.evaluate.suite import Suite, evaluate, run_suite, suite_folds
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.train import train
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Status, Track

TRAIN = [f"s{s}c{i}" for s in range(4) for i in range(6)]
HELD = [f"s{s}c{i}" for s in (3, 4) for i in range(6, 8)]  # of which s3's share their subject


@pytest.fixture
def corpus(tmp_path):
    made = Corpus.create(tmp_path / "c", None, [])
    rng = np.random.default_rng(1)
    entries = []
    for s in range(5):
        for i in range(8):
            values = rng.normal(0.15 + 0.6 * (i % 2), 0.1, (6, 2)).clip(0, 1).astype(np.float32)
            face = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
            write_item(made.folder, f"s{s}c{i}", Item(Status("observed", "test"), {"aus": face}))
            clip = Clip(f"s{s}c{i}", None, subject=f"s{s}", label=("calm", "happy")[i % 2])
            entries.append(Entry(clip, {"face": f"s{s}c{i}"}))
    made.write_entries(entries)
    clips = [e.clip for e in entries]
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
