import json

import numpy as np
import pytest
from rich.console import Console

from textualize.corpus.show import clip_rows, print_clip, print_rows, show_clip, where_of
from textualize.errors import TextualizeError
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Span, Status, Track, Utterance


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    made = Corpus.create(tmp_path_factory.mktemp("c") / "c", None, [{"spec": "test", "fps": 12.5}])
    entries = []
    for i in range(12):
        values = np.full((25, 2), i / 12, np.float32)
        face = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
        words = Utterance(Span(0.5, 1.5), f"word {i}", source="test")
        write_item(made.folder, f"f{i}", Item(Status("observed", "test"), {"aus": face}))
        write_item(made.folder, f"s{i}", Item(Status("absent", "test", "silent"), {}, (words,)))
        clip = Clip(f"c{i:02}", None, subject=f"s{i % 2}", label=("fear", "joy", "anger")[i % 3],
                    split=("train", "test")[i % 2] if i else None)  # fmt: skip
        failed = {"prosody": "too short"} if i == 3 else {}
        entries.append(Entry(clip, {"face": f"f{i}", "speech": f"s{i}"}, f"d{i}", failed))
    made.write_entries(entries)
    return made


def test_conditions_choose_clips(corpus):
    def ids(*where):
        return [r.id for r in clip_rows(corpus, where, 99)]

    assert ids("label=fear") == ["c00", "c03", "c06", "c09"]
    assert ids("label=fear", "split=test") == ["c03", "c09"]
    assert ids("label=fear", "label=joy", "subject=s0") == ["c00", "c04", "c06", "c10"]
    assert ids("split=") == ["c00"] and ids("id=c05") == ["c05"]
    assert len(clip_rows(corpus, (), 5)) == 5
    for where, said in (
        ("label", "takes key=value"),
        ("labell=a", "did you mean label"),
        ("label=no", "has no clip with label=no"),
    ):
        with pytest.raises(TextualizeError, match=said):
            ids(where)


def test_a_row_tells_states_and_seconds_without_reading_a_tensor(corpus, monkeypatch):
    monkeypatch.setattr(Corpus, "record", None)
    row = clip_rows(corpus, ["id=c03"], 1)[0]
    assert row.seconds == pytest.approx(2.0) and row.label == "fear"
    assert row.states == {"face": "observed", "speech": "absent", "prosody": "failed"}


def test_an_item_that_is_gone_shows_as_missing(tmp_path):
    made = Corpus.create(tmp_path / "c", None)
    made.write_entries([Entry(Clip("a", None, span=Span(1, 3)), {"face": "gone"})])
    row = clip_rows(made, (), 1)[0]
    assert row.states == {"face": "missing"} and row.seconds == 2.0


def test_one_clip_is_shown_as_a_template_would_read_it(corpus):
    from textualize.describe import describe

    shown = show_clip(corpus, "c04")
    whole = {r.clip.id: r for r in corpus.records()}["c04"]
    assert [c.text for c in shown.cues] == [c.text for c in describe(whole)]  # same statistics
    value = json.loads(json.dumps(shown.to_json()))
    assert value["tracks"]["aus"]["shape"] == [25, 2]
    assert value["tracks"]["aus"]["unit"] == "probability"
    assert value["utterances"][0]["text"] == "word 4"
    assert value["sensors"] == [{"spec": "test", "fps": 12.5}]
    with pytest.raises(TextualizeError, match=r"no clip 'x' .*there are c00, c01, c02"):
        show_clip(corpus, "x")


def test_both_are_printed(corpus, capsys):
    out = Console(width=120)
    print_rows(clip_rows(corpus, (), 4), out)
    said = capsys.readouterr().out
    assert "c03" in said and "not run" in said and "failed" in said
    print_clip(show_clip(corpus, "c03"), out)
    said = capsys.readouterr().out
    for text in ("25 × 2", "probability", "word 3", "speech absent test: silent", "sensor test"):
        assert text in said


def test_conditions_hold_for_entries_alone():
    entry = Entry(Clip("a", None, label=0.5, group="g"), {})
    assert where_of(["label=0.5", "group=g"])(entry) and not where_of(["group=h"])(entry)
