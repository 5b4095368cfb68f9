"""What no prediction tells is found again from the evidence beside it, or named."""

import json
import shutil

import pytest

from textualize.errors import TextualizeError
from textualize.evaluate.digests import DIGESTS
from textualize.evaluate.evidence import (
    FOLDS,
    MATERIAL,
    NOTHING,
    TRAININGS,
    WEAKENED,
    read_evidence,
    write_evidence,
)
from textualize.evaluate.material import Material, Said
from textualize.evaluate.suite import Suite, run_suite
from textualize.evaluate.verify import verify_report

READS = {"tracks": ["aus", "prosody"], "speaker_relative": False}
FACE = READS | {"tracks": ["aus"]}


@pytest.fixture(scope="module")
def written(people, tmp_path_factory):
    where = tmp_path_factory.mktemp("rebuild")
    suite = Suite.model_validate({
        "title": "t", "methods": ["majority", "bag-of-words", "linear", "linear-face"],
        "variants": {"linear-face": {"recipe": "linear", "set": FACE}},
        "overrides": {"linear": READS}, "folds": 2, "draws": 100, "statistic": "accuracy",
        "robustness": {"modalities": {"face": ["aus"]}, "shares": [0.5, 1.0]},
    })  # fmt: skip
    corpus = people(where / "happy calm", "class")
    return run_suite(suite, corpus, where / "runs", where / "report")


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written.folder, tmp_path / "copy")


def edit_lines(folder, name, change):
    path = folder / name
    lines = [json.loads(x) for x in path.read_text("utf-8").splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(x) + "\n" for x in lines), "utf-8")


def test_all_of_it_is_found_again_and_what_is_not_is_named(written):
    found = verify_report(written.folder)
    assert found.equal and written.report.weakened and written.report.leaks
    assert {TRAININGS, WEAKENED, MATERIAL, FOLDS} <= set(
        json.loads((written.folder / DIGESTS).read_text("utf-8"))
    )
    (costs, corpus) = found.taken
    assert "minutes" in costs and "leaks in prompts and run folders" in corpus
    assert "not recomputed" in found.line() and found.to_json()["taken"]


def row(value, name):
    return next(r for r in value["rows"] if r["name"] == name)


def trained(value):
    return row(value, "linear")["trained"]


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda v: trained(v).update(minutes=99.0), "trained/minutes"),
        (lambda v: trained(v).update(clips_per_s=1e6), "trained/clips_per_s"),
        (lambda v: trained(v).update(parameters=1), "trained/parameters"),
        (lambda v: trained(v).update(validation=1.1), "trained/validation"),
        (lambda v: trained(v)["summary"].clear(), "trained/summary"),
        (lambda v: v["weakened"][1]["score"].update(value=0.97), "weakened/1/score/value"),
        (lambda v: v["weakened"][2].update(share=0.6), "weakened"),
        (lambda v: v["weakened"].pop(), "weakened"),
        (lambda v: v["weakened"].clear(), "weakened"),
        (lambda v: v["leaks"][0].update(found=1), "leaks/0/found"),
        (lambda v: v["leaks"][0].update(text="clips are fine"), "leaks"),
        (lambda v: v.update(leaks=[]), "leaks"),
        (lambda v: v.update(headline=["bag-of-words", "majority"]), ""),
        (lambda v: v["speaker"].update({"with": 1}), "speaker/with"),
    ],
)
def test_a_changed_line_of_the_report_is_found(copy, change, first, edit):
    before = json.loads((copy / "report.json").read_text("utf-8"))
    edit(copy, change)
    if before == json.loads((copy / "report.json").read_text("utf-8")):
        pytest.fail("nothing was changed")
    try:
        found = verify_report(copy)
    except TextualizeError:
        assert not first
        return
    assert found.different and first in found.first


@pytest.mark.parametrize(
    ("name", "change", "first"),
    [
        (TRAININGS, lambda x: x[-1]["trained"].update(minutes=50.0), "trained/minutes"),
        (TRAININGS, lambda x: x.pop(), "rows"),
        (WEAKENED, lambda x: x[0].update(
            answers={k: "happy" for k in x[0]["answers"]}), "weakened"),
        (MATERIAL, lambda x: [one.update(group="g", subject="g") for one in x], "leaks"),
        (MATERIAL, lambda x: [one.update(split="test") for one in x], "leaks"),
        (MATERIAL, lambda x: [one.update(media="ab") for one in x], "leaks"),
        (MATERIAL, lambda x: [one.update(
            said={"words": 5, "digest": one["label"]}) for one in x], "leaks"),
        (MATERIAL, lambda x: x.pop(0), "leaks"),
    ],
)  # fmt: skip
def test_changed_evidence_is_found_though_signed_again(copy, name, change, first, signed_again):
    edit_lines(copy, name, change)
    signed_again(copy)
    found = verify_report(copy)
    assert found.different and first in found.first and not found.changed


def test_a_clip_moved_to_another_part_is_found(copy, signed_again):
    value = json.loads((copy / FOLDS).read_text("utf-8"))
    value["folds"][0]["train"].append(value["folds"][0]["test"][0])
    (copy / FOLDS).write_text(json.dumps(value), "utf-8")
    signed_again(copy)
    assert "leaks" in verify_report(copy).first


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (TRAININGS, "cost columns and validation scores (no trainings.jsonl)"),
        (WEAKENED, "scores as a modality is lost (no weakened.jsonl)"),
        (MATERIAL, "leaks in folds and names (no material.jsonl)"),
    ],
)
def test_evidence_that_is_gone_is_named(copy, name, told, signed_again):
    (copy / name).unlink()
    assert verify_report(copy).changed == (name,)
    signed_again(copy)
    found = verify_report(copy)
    assert found.equal and told in found.taken and told in found.line()


def test_evidence_comes_back_as_it_was_and_that_of_an_earlier_report_goes(copy):
    found = read_evidence(copy)
    names = write_evidence(copy / "again", found)
    assert read_evidence(copy / "again") == found
    for name in names:
        assert (copy / "again" / name).read_bytes() == (copy / name).read_bytes()
    assert write_evidence(copy / "again", NOTHING) == ()
    assert list((copy / "again").iterdir()) == [] and read_evidence(copy / "again") == NOTHING_READ


NOTHING_READ = type(NOTHING)([], [], None, [])


@pytest.mark.parametrize("name", [TRAININGS, WEAKENED, MATERIAL, FOLDS])
@pytest.mark.parametrize("text", ["{", "{}\n", "[]"])
def test_damaged_evidence_is_one_line(copy, name, text):
    (copy / name).write_text(text, "utf-8")
    with pytest.raises(TextualizeError, match=f"{name}.* is damaged"):
        read_evidence(copy)


def test_no_text_is_kept_only_whether_two_are_the_same():
    said = Said.of("I can’t believe it")
    assert said == Said.of("i CAN’T believe, it!") and said != Said.of("I can believe it")
    assert said.words == 5 and "believe" not in said.digest
    assert Material({}).said("nobody").words == 0
