import json
import time

import pytest

from textualize.errors import TextualizeError
from textualize.finetune.recipe import load_recipe
from textualize.finetune.run_folder import RunFolder
from textualize.finetune.train import train
from textualize.labels import LabelSet
from textualize.types import Clip, Record

LABELS = LabelSet("own", ("a", "b"), {})


def records(start, count):
    return [Record(Clip(f"c{i}", None, label="ab"[i % 2])) for i in range(start, start + count)]


def recipe(**changes):
    return load_recipe("majority").model_copy(update=changes)


def test_a_run_is_finished_when_its_card_is_written(tmp_path):
    run = RunFolder(tmp_path / "r")
    assert run.begin(recipe(), LABELS, records(0, 4), records(4, 2), ["c9"])
    assert not run.complete
    run.write_metrics([{"epoch": 1, "macro_f1": 0.5}])
    run.finish({"parameters": 0}, ["one prompt was cut"], time.time())
    assert run.complete and run.test_ids == ["c9"] and run.labels == LABELS
    card = (run.path / "README.md").read_text()
    assert "one prompt was cut" in card and "not what a person feels" in card
    assert not run.begin(recipe(), LABELS, records(0, 4), records(4, 2), ["c9"])


def test_another_recipe_or_split_in_the_folder_is_refused_and_nothing_is_lost(tmp_path):
    run = train(recipe(), records(0, 4), records(4, 2), tmp_path / "r", labels=LABELS)
    before = (run.path / "recipe.yaml").read_text()
    with pytest.raises(TextualizeError, match="another recipe, split or labels"):
        train(recipe(seed=1), records(0, 4), records(4, 2), run.path, labels=LABELS)
    with pytest.raises(TextualizeError, match="another recipe, split or labels"):
        train(recipe(), records(0, 3), records(4, 2), run.path, labels=LABELS)
    assert (run.path / "recipe.yaml").read_text() == before and run.complete


def test_a_run_from_before_a_key_existed_is_still_the_same_run(tmp_path):
    run = train(recipe(), records(0, 4), records(4, 2), tmp_path / "r", labels=LABELS)
    lines = (run.path / "recipe.yaml").read_text().splitlines()
    (run.path / "recipe.yaml").write_text("\n".join(x for x in lines if "class_b" not in x))
    assert not run.begin(recipe(), LABELS, records(0, 4), records(4, 2))


def test_a_run_that_never_started_can_be_begun_again_with_another_recipe(tmp_path):
    run = RunFolder(tmp_path / "r")
    run.begin(recipe(), LABELS, records(0, 4), records(4, 2))
    assert run.begin(recipe(seed=3), LABELS, records(0, 4), records(4, 2))
    assert run.recipe_values["seed"] == 3


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TextualizeError, match="not empty and not a run folder"):
        RunFolder(tmp_path).begin(recipe(), LABELS, records(0, 4), records(4, 2))


@pytest.mark.parametrize("parts", [((0, 4), (3, 2), []), ((0, 4), (4, 2), ["c5"]), ((0, 4), (4, 2), ["c0"])])  # fmt: skip  # noqa: E501
def test_overlapping_parts_are_refused(tmp_path, parts):
    training, validation, test = parts
    with pytest.raises(TextualizeError, match="share 1 clips"):
        RunFolder(tmp_path / "r").begin(
            recipe(), LABELS, records(*training), records(*validation), test
        )


def test_a_label_outside_the_set_names_the_clip(tmp_path):
    odd = [Record(Clip("odd", None, label="z"))]
    with pytest.raises(TextualizeError, match="clip 'odd': label 'z' is not in label set"):
        train(recipe(), [*records(0, 4), *odd], records(4, 2), tmp_path / "r", labels=LABELS)
    assert not (tmp_path / "r").exists()


def test_a_newer_run_is_refused(tmp_path):
    run = train(recipe(), records(0, 4), records(4, 2), tmp_path / "r", labels=LABELS)
    about = json.loads((run.path / "labels.json").read_text())
    (run.path / "labels.json").write_text(json.dumps({**about, "schema": 9}))
    with pytest.raises(TextualizeError, match="schema 9"):
        _ = run.labels
