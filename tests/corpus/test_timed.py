"""pytest tests/corpus/test_timed.py"""

import csv
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.corpus import timed
from textualize.corpus.captions import file_name
from textualize.corpus.examples import Example
from textualize.corpus.export import Request, export_corpus
from textualize.corpus.share import Share
from textualize.corpus.timed import Note, lanes, notes_of
from textualize.errors import TextualizeError
from textualize.extract.imports.elan import read_annotations
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Span, Status, Track, Utterance

HOSTILE = 'a <v B>&amp; --> "c"\tand\nmore'


@pytest.fixture
def corpus(tmp_path):
    made = Corpus.create(tmp_path / "corpus", None, [])
    entries = []
    rng = np.random.default_rng(0)
    for n in range(2):
        values = rng.random((25, 2)).astype(np.float32)
        values[:3] = np.nan
        face = Track(values, 12.5, 0.0, ("AU06", "AU12"), "probability", "test")
        name = f"face{n}"
        write_item(made.folder, name, Item(Status("observed", "test"), {"aus": face}))
        said = Utterance(Span(0.25, 1.5), HOSTILE if n else "we are late", (), None, 0.9, "given")
        write_item(made.folder, f"said{n}", Item(Status("observed", "given"), {}, (said,)))
        clip = Clip(f"c {n}", None, Span(0.0, 2.0), subject=f"s{n}", label=("calm", "happy")[n])
        entries.append(Entry(clip, {"face": name, "speech": f"said{n}"}))
    made.write_entries(entries)
    return made


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "predictions.jsonl"
    line = {"method": "m", "label": "happy", "scores": {}, "text": ""}
    path.write_text("".join(json.dumps({"clip_id": f"c {n}", **line}) + "\n" for n in range(2)))
    return path


def exported(corpus, tmp_path, name, **options):
    made = export_corpus(corpus, tmp_path / name, Request(name, **options))
    return made.folder / name


def test_elan_text_is_read_back_as_annotation(corpus, answers, tmp_path):
    folder = exported(corpus, tmp_path, "elan", predictions=answers)
    for n in range(2):
        read = read_annotations(folder / f"{file_name(f'c {n}')}.txt")
        (words,) = [a for a in read if a.tier == "words"]
        assert words.span == Span(0.25, 1.5) and words.participant == f"s{n}"
        assert "\t" not in words.value and "late" in words.value or "more" in words.value
        (answer,) = [a for a in read if a.tier == "prediction"]
        assert answer.value == "happy" and answer.span == Span(0.0, 2.0)
        assert any(a.tier.startswith("face") for a in read)


def test_eaf_holds_the_same_and_is_the_same_twice(corpus, answers, tmp_path):
    elan = pytest.importorskip("pympi.Elan")
    folder = exported(corpus, tmp_path, "eaf", predictions=answers)
    again = exported(corpus, tmp_path / "again", "eaf", predictions=answers)
    text = exported(corpus, tmp_path, "elan", predictions=answers)
    for n in range(2):
        path = folder / f"{file_name(f'c {n}')}.eaf"
        assert path.read_bytes() == (again / path.name).read_bytes()
        document = elan.Eaf(str(path))
        values = {
            (tier.split("@")[0], start, end, value)
            for tier in document.get_tier_names()
            for start, end, value, *_ in document.get_annotation_data_for_tier(tier)
        }
        written = read_annotations(text / f"{path.stem}.txt")
        assert values == {
            (a.tier, round(a.span.start * 1000), round(a.span.end * 1000), a.value) for a in written
        }
        assert ElementTree.parse(path).getroot().tag == "ANNOTATION_DOCUMENT"


def test_vtt_escapes_what_is_said_and_names_who_and_what(corpus, answers, tmp_path):
    folder = exported(corpus, tmp_path, "vtt", predictions=answers)
    text = (folder / f"{file_name('c 1')}.vtt").read_text("utf-8")
    assert text.startswith("WEBVTT\n\n")
    blocks = [b.splitlines() for b in text.split("\n\n")[1:]]
    assert all(len([x for x in b if x]) == 3 and b[1].count("-->") == 1 for b in blocks)
    (words,) = [b for b in blocks if b[0] == "words"]
    assert words[1] == "00:00:00.250 --> 00:00:01.500" and words[2].startswith(
        "<v s1>a &lt;v B&gt;"
    )
    assert "-->" not in words[2]
    assert ["prediction", "00:00:00.000 --> 00:00:02.000", "<c.prediction>happy</c>"] in blocks


def test_frames_are_every_row_with_what_was_not_seen_left_empty(corpus, tmp_path):
    folder = exported(corpus, tmp_path, "frames")
    record = next(iter(corpus.stream()))
    track = record.tracks["aus"]
    with (folder / f"{file_name(record.clip.id)}.aus.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["seconds", "AU06", "AU12"] and len(rows) == len(track.values)
    assert rows[0]["AU06"] == "" and float(rows[12]["seconds"]) == pytest.approx(12 / 12.5)
    read = np.array([[float(r[n] or "nan") for n in track.names] for r in rows])
    np.testing.assert_allclose(read, track.values, rtol=1e-4)


def test_frames_are_not_made_fit_to_publish(corpus, tmp_path):
    share = Share(key=tmp_path / "key")
    with pytest.raises(TextualizeError, match="leave out --share"):
        export_corpus(corpus, tmp_path / "out", Request("frames", share=share))


def example(**changes):
    values = {"id": "c", "split": "", "label": None, "subject": None, "group": "c", "start": None,
              "end": None, "transcript": "", "text": "", "cues": (), "utterances": ()}  # fmt: skip
    return Example(**{**values, **changes})


def test_what_holds_for_a_clip_of_unknown_end_lasts_as_long_as_is_known():
    cue = {"modality": "face", "state": "observed", "text": "smile", "source": "s"}
    whole, part = {**cue, "start": None, "end": None}, {**cue, "start": 1.0, "end": 2.5}
    found, lost = notes_of(example(cues=(whole, part)))
    assert [(n.start, n.end) for n in found] == [(0.0, 2.5), (1.0, 2.5)] and lost == 0
    assert notes_of(example(cues=(whole,))) == ([], 1)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), max_size=15))
def test_annotations_of_one_lane_never_overlap_and_none_is_lost(spans):
    notes = [Note("face", "", a, a + long, str(i)) for i, (a, long) in enumerate(spans)]
    found = lanes(notes)
    assert sorted(n.value for n in found) == sorted(n.value for n in notes)
    for tier in {n.tier for n in found}:
        own = sorted((n.start, n.end) for n in found if n.tier == tier)
        assert all(end <= start for (_, end), (start, _) in zip(own, own[1:], strict=False))


def test_missing_package_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pympi", None)
    with pytest.raises(TextualizeError, match="pympi-ling"):
        timed.Eaf(tmp_path, None, None)
