import json
import wave

import pytest

from textualize.corpus.check import check_source, print_report
from textualize.corpus.measures import design_effect, majority_scores, noise, row_of
from textualize.corpus.media import check_copies
from textualize.corpus.opening import Source, open_source
from textualize.errors import TextualizeError
from textualize.store import Corpus, Entry, Item, failure, write_item
from textualize.types import Clip, Span, Status


def source(clips, failures=(), notes=()):
    return Source("x", None, None, None, tuple(clips), tuple(failures), tuple(notes))


def clip(name, **about):
    return Clip(name, None, **{"label": "joy", "group": name, "split": "train", **about})


def found(report, section, severity):
    return [f for f in report.findings if (f.section, f.severity) == (section, severity)]


def tone(path, seconds=1.0, value=1):
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1), out.setsampwidth(2), out.setframerate(8000)
        out.writeframes(bytes([value, 0]) * int(8000 * seconds))
    return path


def test_meld_has_the_published_figures(assets):
    report = check_source(open_source(assets / "data/meld_text", "meld"))
    train, validation = report.splits
    assert (train.clips, train.groups, validation.clips, validation.groups) == (
        9989,
        1038,
        1109,
        114,
    )
    notes = [f.text for f in report.findings if f.severity == "note"]
    assert any("1291 of 9989 rows repeat another row's text" in n for n in notes)
    assert any("of 1109 rows" in n and "135 have a text of train" in n for n in notes)
    assert any("train_dia309_utt0" in n and "41 s" in n for n in notes)
    assert any("train_dia125_utt3" in n for n in notes)
    assert any("validation_dia110_utt7" in n for n in notes)
    assert not found(report, "overlap", "error")  # dialogues are kept apart, speakers are not
    assert "33 subjects" in found(report, "overlap", "warning")[0].text
    assert validation.labels["neutral"] == 470 and not report.errors
    assert train.majority["accuracy"] == pytest.approx(4710 / 9989)


def test_ravdess_has_two_takes_of_one_content(assets):
    report = check_source(open_source(assets / "data/ravdess", "ravdess"))
    assert found(report, "copies", "warning")[0].clips == ("03-01-03-01-02-02-07",)
    assert report.clips == 960 and not report.errors


def test_noise_and_majority_are_those_of_the_field():
    assert 100 * noise(2610, 0.68) == pytest.approx(1.8, abs=0.02)
    scores = majority_scores(0.481, 7)
    assert scores["weighted_f1"] == pytest.approx(0.313, abs=0.001)


def test_whole_groups_make_more_noise_only_when_they_agree():
    alike = [1.0] * 10 + [0.0] * 10 + [1.0] * 10 + [0.0] * 10
    mixed = [1.0, 0.0] * 20
    groups = [f"g{i // 10}" for i in range(40)]
    assert design_effect(alike, groups) > 9
    assert design_effect(mixed, groups) < 0.2
    assert design_effect([1.0] * 5, ["a"] * 5) == 1.0


def test_a_group_in_two_splits_is_an_error_a_subject_a_warning():
    made = [clip("a", group="g"), clip("b", group="g", split="test"),
            clip("c", subject="s"), clip("d", subject="s", split="test", label="fear")]  # fmt: skip
    report = check_source(source(made))
    assert [f.text for f in found(report, "overlap", "error")] == [
        "1 groups (2 clips) are in more than one split"
    ]
    assert found(report, "overlap", "warning")[0].clips == ("s",)
    splits = [f.text for f in found(report, "splits", "warning")]
    assert "there is no split named validation" in splits
    assert "test: label 'fear' never occurs in train" in splits


def test_repeated_texts_are_counted_exactly_and_loosely():
    made = [clip("a", transcript="Yeah."), clip("b", transcript="Yeah."),
            clip("c", transcript="yeah!"), clip("d", transcript=""),
            clip("e", transcript="yeah", split="test"), clip("f", transcript="", split="test"),
            clip("g", transcript="Yeah.", split="test")]  # fmt: skip
    train, test = check_source(source(made)).splits
    assert (train.repeats, train.repeats_words) == (2, 3)
    assert (test.in_train, test.in_train_words) == (1, 2)


def test_odd_characters_and_ids_and_labels_are_found():
    made = [clip("a", transcript="it\x92s"), clip("a"), clip("b", label=None),
            clip("c", transcript="donâ€™t \ufffd")]  # fmt: skip
    report = check_source(source(made, [failure("z", "manifest", "row 3: bad")], ["a note"]))
    text = " ".join(f.text for f in report.findings)
    for said in ("C1 control", "UTF-8 decoded as Latin-1", "replacement characters",
                 "an id given twice", "have no label", "z: row 3: bad", "a note"):  # fmt: skip
        assert said in text
    assert [f.section for f in report.errors] == ["clips"]


def test_bad_times_are_found_without_a_file():
    made = [clip("a", span=Span(2.0, 2.0)), clip("b", span=Span(-1.0, 2.0)),
            clip("c", span=Span(0.0, 0.01)), clip("d", span=Span(0.0, 61.0)),
            clip("e", span=Span(0.0, float("inf")))]  # fmt: skip
    report = check_source(source(made))
    assert found(report, "times", "error")[0].clips == ("a", "b")
    assert [f.clips for f in found(report, "times", "warning")] == [("c",), ("d",)]


def test_files_that_cannot_be_used_are_found(tmp_path):
    tone(tmp_path / "a.wav"), tone(tmp_path / "b.wav"), tone(tmp_path / "long.wav", 3.0, 2)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "broken.wav").write_bytes(b"no media at all")
    rows = ["id,video,start,end,label,split", "a,a.wav,,,joy,train", "b,b.wav,,,fear,test",
            "gone,gone.wav,,,joy,train", "empty,empty.wav,,,joy,train",
            "broken,broken.wav,,,joy,train", "long,long.wav,,,joy,test",
            "past,long.wav,1,9,joy,train", "outside,a.wav,5,6,joy,validation"]  # fmt: skip
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    report = check_source(open_source(tmp_path / "m.csv"), max_seconds=2.0)
    media = {f.text.split(":")[0]: f for f in found(report, "media", "error")}
    assert media["clips that have no file at all"].clips == ("gone",)
    assert media["clips that have an empty file"].clips == ("empty",)
    assert "broken" in media and any("is outside" in f.text for f in media.values())
    assert found(report, "media", "warning")[0].clips == ("long",)
    assert ("past",) in [f.clips for f in found(report, "times", "warning")]
    across = found(report, "copies", "error")[0]
    assert across.count == 3 and "another split" in across.text  # a is b, long runs over past
    quick = check_source(open_source(tmp_path / "m.csv"), read_media=False)
    assert len(found(quick, "media", "error")) == 2 and not found(quick, "copies", "error")[1:]


def test_clips_of_one_file_that_do_not_overlap_are_no_copies():
    spans = [Span(0, 2), Span(2, 4), Span(3.5, 5)]
    rows = [row_of(clip(n, span=s), "file") for n, s in zip("abc", spans, strict=True)]
    assert [f.clips for f in check_copies(rows[:2])] == []
    assert [f.clips for f in check_copies(rows)][0] == ("c",)


@pytest.fixture
def corpus(tmp_path):
    made = Corpus.create(tmp_path / "c", None)
    for name in ("one", "two"):
        write_item(made.folder, name, Item(Status("observed", "t")))
    made.write_entries([
        Entry(clip("a"), {"face": "one"}, "d1"),
        Entry(clip("a2", label="fear"), {"face": "one"}, "d3"),
            Entry(clip("b", split="test"), {"face": "two"}, "d1"),
        Entry(clip("c", split="test"), {"face": "gone"}, "d2", {"speech": "no words"}),
    ])  # fmt: skip
    made.write_failures([failure("z", "decode", "broken")])
    return made


def test_an_extracted_corpus_is_checked_by_its_index(corpus):
    report = check_source(open_source(corpus.folder))
    errors = {f.section: f for f in report.errors}
    assert errors["clips"].clips == ("c",) and "lack a stored item" in errors["clips"].text
    assert errors["copies"].clips == ("b",)
    assert found(report, "quarantine", "warning")[0].clips == ("z",)
    assert any("sensor failed" in f.text for f in report.findings)


def test_a_report_is_printed_and_is_json(corpus, capsys):
    from rich.console import Console

    report = check_source(open_source(corpus.folder))
    print_report(report, Console(width=140))
    said = capsys.readouterr().out
    assert "lack a stored item" in said and "2 errors" in said
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value["errors"] == 2 and value["splits"][0]["name"] == "train"


def test_nothing_there_is_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="no file or folder"):
        open_source(tmp_path / "gone")
