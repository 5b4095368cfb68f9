"""pytest tests/evaluate/test_verify.py"""

import json
import shutil

import pytest

from textualize.errors import TextualizeError
from textualize.evaluate.combine import Part
from textualize.evaluate.digests import DIGESTS
from textualize.evaluate.fusing import with_combination
from textualize.evaluate.report_files import CLIPS, FILES, write_report
from textualize.evaluate.verify import verify_report


def halves(own):
    return {None: [Part(own[::2], own[1::2])]}


@pytest.fixture(scope="module")
def written(invented, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report, together = with_combination(
        invented.report(draws=50),
        lambda name: halves(invented.predictions[name]),
        invented.predictions,
        {r.clip.id: r for r in invented.records},
        invented.labels,
    )
    assert report.combined is not None
    given = {**invented.predictions, **together}
    write_report(report, folder, invented.records, invented.prompts, given)
    return folder


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


def answer(folder, number, **values):
    path = folder / "predictions.jsonl"
    lines = path.read_text("utf-8").splitlines()
    lines[number] = json.dumps({**json.loads(lines[number]), **values})
    path.write_text("\n".join(lines) + "\n", "utf-8")


def test_a_report_verifies_its_own_numbers(written):
    found = verify_report(written)
    assert found.equal and found.numbers > 500
    assert "all equal" in found.line() and found.to_json()["equal"]


@pytest.mark.parametrize("name", [*FILES, DIGESTS])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_any_changed_byte_is_found(copy, name, where):
    path = copy / name
    data = bytearray(path.read_bytes())
    at = next(i for i in range(int(len(data) * where), len(data)) if chr(data[i]).isalnum())
    data[at] = ord("7") if data[at] != ord("7") else ord("6")
    path.write_bytes(bytes(data))
    try:
        assert not verify_report(copy).equal
    except TextualizeError:
        pass  # damaged beyond reading is found too


def test_another_answer_is_found(copy, signed_again):
    labels = json.loads((copy / "report.json").read_text("utf-8"))["labels"]
    first = json.loads((copy / "predictions.jsonl").read_text("utf-8").splitlines()[0])
    answer(copy, 0, label=next(x for x in labels if x != first["label"]))
    signed_again(copy)
    assert verify_report(copy).different > 0


def test_a_clip_left_out_is_found(copy, signed_again):
    path = copy / "predictions.jsonl"
    lines = path.read_text("utf-8").splitlines()
    gone = json.loads(lines[0])["clip_id"]
    kept = [line for line in lines if json.loads(line)["clip_id"] != gone]
    path.write_text("\n".join(kept) + "\n", "utf-8")
    signed_again(copy)
    assert "differ from the predictions" in verify_report(copy).line()


@pytest.mark.parametrize("part", ["rows", "differences", "strata", "agreement", "combined"])
def test_a_better_number_is_found_in_every_part(copy, part, edit):
    def better(value):
        own = value[part][0] if isinstance(value[part], list) else value[part]
        if part == "rows":
            own["scores"]["macro_f1"]["value"] += 0.001
        elif part == "strata":
            next(iter(own["scores"].values()))["high"] += 0.001
        elif part == "agreement":
            own["oracle"]["value"] += 0.001
        else:
            (own["gains"][0] if part == "combined" else own)["p"] += 0.001

    edit(copy, better)
    found = verify_report(copy)
    assert found.different == 1 and part in found.first


def test_another_sentence_in_the_tables_is_found_though_signed_again(copy, signed_again):
    path = copy / "report.md"
    path.write_text(path.read_text("utf-8").replace("bert", "best"), "utf-8")
    signed_again(copy)
    found = verify_report(copy)
    assert found.changed == ("report.md",) and found.different == 0
    assert found.line().partition("; not recomputed")[0].endswith("written: report.md")


def test_clips_moved_to_another_stratum_are_found(copy, signed_again):
    path = copy / CLIPS
    lines = [json.loads(x) for x in path.read_text("utf-8").splitlines()]
    lines[0]["states"]["face"] = "failed"
    path.write_text("".join(json.dumps(x) + "\n" for x in lines), "utf-8")
    signed_again(copy)
    assert "strata" in verify_report(copy).first


def test_a_file_that_is_gone_or_unsigned_is_named(copy):
    (copy / "report.html").unlink()
    assert verify_report(copy).changed == ("report.html",)
    digests = json.loads((copy / DIGESTS).read_text("utf-8"))
    (copy / DIGESTS).write_text(json.dumps({k: v for k, v in digests.items() if k != CLIPS}))
    assert verify_report(copy).changed == (CLIPS, "report.html")
    (copy / "report.md").unlink()
    assert verify_report(copy).changed == (CLIPS, "report.html", "report.md")
    (copy / DIGESTS).unlink()
    with pytest.raises(TextualizeError, match="digests of a report"):
        verify_report(copy)


def test_a_text_may_hold_any_break_of_lines(copy, signed_again):
    path = copy / "predictions.jsonl"
    first, rest = path.read_text("utf-8").split("\n", 1)
    odd = {**json.loads(first), "text": "one\u2028two\x85three\x1cfour"}
    path.write_text(json.dumps(odd, ensure_ascii=False) + "\n" + rest, "utf-8")
    signed_again(copy)
    assert verify_report(copy).equal
