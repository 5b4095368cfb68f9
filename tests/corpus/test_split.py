import json

import pytest
from rich.console import Console

from textualize.corpus.opening import Source, open_source
from textualize.corpus.split import balance, print_split, split_source
from textualize.datasets.folds import Fold, made_folds
from textualize.datasets.given import read_folds
from textualize.errors import TextualizeError
from textualize.types import Clip


def clips(groups=8, each=6, **about):
    return [
        Clip(f"g{g}c{i}", None, subject=f"g{g}", label="ab"[i % 2], **about)
        for g in range(groups)
        for i in range(each)
    ]


def source(made):
    return Source("x", None, None, None, tuple(made), (), ())


@pytest.fixture
def given(tmp_path):
    lines = ["id,transcript,label,subject"]
    lines += [f"{c.id},words,{c.label},{c.subject}" for c in clips()] + ["u,words,,z"]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    return open_source(tmp_path / "m.csv")


@pytest.mark.parametrize("preset, count", [("4", 4), ("loso", 8), ("grouped", 4)])
def test_what_is_written_is_what_training_reads(given, tmp_path, preset, count):
    made = split_source(given, preset, tmp_path / "f.json", seed=3)
    labelled = given.labelled()
    assert len(made.folds) == count and made.unlabelled == 1
    assert read_folds(tmp_path / "f.json", labelled) == made.folds
    assert made_folds(labelled, str(tmp_path / "f.json")) == made.folds
    again = split_source(given, preset, tmp_path / "g.json", seed=3)
    assert again.digest == made.digest
    assert (tmp_path / "f.json").read_bytes() == (tmp_path / "g.json").read_bytes()


def test_distance_from_ideal_is_counted_in_clips():
    made = clips(4, 4)
    # train 4 a 4 b; validation 1 a 3 b of which 2 would be ideal; test empty
    fold = Fold("f", tuple(c.id for c in made[:8]), ("g2c0", "g2c1", "g2c3", "g3c1"), ())
    train, validation, test = balance([fold], made)
    assert train.labels == {"a": 4, "b": 4} and train.groups == 2
    assert validation.worst_off == pytest.approx(abs(1 - 5 * 4 / 12), abs=0.01)
    assert test.clips == 0 and test.worst_off == 0


def test_a_split_is_printed_and_is_json(given, tmp_path, capsys):
    made = split_source(given, "2", tmp_path / "f.json")
    print_split(made, Console(width=140))
    said = capsys.readouterr().out
    assert "1/2" in said and "no label and are in no fold" in said and made.digest[:16] in said
    assert json.loads(json.dumps(made.to_json()))["folds"][0]["leaks"] == []


def test_what_cannot_be_split_is_one_line(given, tmp_path):
    with pytest.raises(TextualizeError, match=r"should be a \.json file"):
        split_source(given, "4", tmp_path / "f.csv")
    with pytest.raises(TextualizeError, match="no labelled clip"):
        split_source(source([Clip("a", None)]), "4", tmp_path / "f.json")
    with pytest.raises(TextualizeError, match="9 folds need at least 10 groups"):
        split_source(given, "9", tmp_path / "f.json")
    assert not (tmp_path / "f.json").exists()
