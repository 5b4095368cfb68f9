"""A shared export gives nothing of the corpus away, and the check would see it if it did."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textualize.corpus.export import Request, export_corpus
from textualize.corpus.export_formats import EXPORT_FORMATS
from textualize.corpus.share import MASK, Share, masked, name_words, read_key, share_options
from textualize.corpus.verify import verify_share
from textualize.errors import TextualizeError
from textualize.labels import LABEL_SETS
from textualize.predictions import write_predictions
from textualize.store import Corpus, Entry, Item, write_item
from textualize.types import Clip, Prediction, Span, Status, Track, Utterance

LABELS = LABEL_SETS["meld7"]
PEOPLE = ("Joey", "Rachel Green", "Mr. Heckles", "All", "anna_01", "07")


def turn(text: str, speaker: str | None = None) -> Utterance:
    return Utterance(Span(10.5, 11.75), text, speaker=speaker, confidence=0.9, source="made")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Clips cut out of long files, with people, dialogue before them and names in the words."""
    folder = tmp_path / "corpus"
    corpus = Corpus.create(folder, LABELS)
    aus = Track(np.full((50, 1), 0.9, np.float32), 25.0, 10.0, ("AU12",), "probability", "made")
    write_item(folder, "fa" * 32, Item(Status("observed", "made"), {"aus": aus}))
    entries = []
    for n in range(48):
        who = PEOPLE[n % len(PEOPLE)]
        spoken = turn(f"Joey, JOEY's joey, Jo\u200bey and Rachel; All right {n}")
        write_item(folder, f"{n:064x}", Item(Status("observed", "made"), {}, (spoken,)))
        made = Clip(
            f"dia{n // 4}_utt{n % 4}",
            Path(f"/media/friends season 1/dia{n}.mp4"),
            Span(10.0, 12.0),
            subject=who,
            group=f"scene{n // 4}",
            context=(turn("Hi Heckles", PEOPLE[(n + 1) % len(PEOPLE)]),),
            label=LABELS.labels[n % 7],
            split=["train", "validation", "test"][n // 4 % 3],
            sidecars={"openface": f"/media/of/{n}.csv"},
        )
        entries.append(Entry(made, {"face": "fa" * 32, "speech": f"{n:064x}"}, f"{n:02x}" * 32))
    corpus.write_entries(entries)
    return corpus


def shared(corpus: Corpus, out: Path, name: str = "csv", **more: object) -> Path:
    asked = {"mask_names": True} | {k: v for k, v in more.items() if k in Share.__slots__}
    rest = {k: v for k, v in more.items() if k not in Share.__slots__}
    request = Request(name, share=Share(out.with_name("key.json"), **asked), **rest)
    return export_corpus(corpus, out, request).folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "clips.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def everything(folder: Path) -> str:
    pieces = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        pieces.append(path.relative_to(folder).as_posix())
        if path.suffix == ".parquet":
            parquet = pytest.importorskip("pyarrow.parquet")
            pieces.append(str(parquet.read_table(path).to_pylist()))
        else:
            pieces.append(path.read_text("utf-8"))
    return "\n".join(pieces)


@pytest.mark.parametrize("turns", [0, 2])
@pytest.mark.parametrize("name", sorted(n for n, f in EXPORT_FORMATS.items() if not f.tracks))
def test_nothing_of_the_corpus_is_in_any_format(corpus, tmp_path, name, turns):
    folder = shared(corpus, tmp_path / "out", name, turns=turns)
    assert verify_share(folder, corpus) == []
    text = everything(folder)
    for entry in corpus.iter_entries():
        clip = entry.clip
        for secret in (clip.id, clip.group, clip.video.name, clip.video.stem, entry.media):
            assert secret not in text
    for secret in ("Joey", "JOEY", "Rachel", "Heckles", "anna_01", "/media", "friends", "fa" * 32):
        assert secret not in text
    if turns and EXPORT_FORMATS[name].asks:
        assert f"Hi {MASK}" in text


def test_numbers_of_sensors_are_not_shared(corpus, tmp_path):
    numbers = [name for name, form in EXPORT_FORMATS.items() if form.tracks]
    assert numbers
    for name in numbers:
        with pytest.raises(TextualizeError, match="leave out --share"):
            shared(corpus, tmp_path / name, name)


def test_the_check_finds_every_kind_of_thing_wherever_it_stands(corpus, tmp_path):
    folder = shared(corpus, tmp_path / "out", "hf")
    planted = {
        "a.jsonl": (json.dumps({"x": {"deep": ["see dia3_utt2."]}}), "id"),
        "b.json": (json.dumps({"id": "07"}), "person"),
        "c.csv": ("subject,text\nAll,hello\n", "person"),
        "d.txt": ("from /media/friends season 1/dia7.mp4, cut", "path"),
        "e.srt": ("1\n00:00:01,000 --> 00:00:02,000\nask Rachel\n", "spoken name"),
        "f.md": ("sha256 " + "0a" * 32, "media"),
        "dia5_utt1.srt": ("words\n", "id"),
        "g.md": ("of group scene11", "group"),
        "h.json": (json.dumps({"dia3_utt2": 1}), "id"),
    }
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for name, (text, kind) in planted.items():
        (folder / name).write_text(text)
        assert {f.kind for f in verify_share(folder, corpus)} == {kind}, name
        assert {f.file for f in verify_share(folder, corpus)} == {name}
        (folder / name).unlink()
    parquet.write_table(pyarrow.table({"note": ["was dia1_utt1"]}), folder / "x.parquet")
    assert [f.where for f in verify_share(folder, corpus)] == ["row 1"]


def test_an_export_that_would_give_something_away_is_not_written(corpus, tmp_path):
    for n, entry in enumerate(corpus.entries()[:1]):
        spoken = Item(Status("observed", "made"), {}, (turn(f"file dia{n}_utt0 please"),))
        write_item(corpus.folder, entry.items["speech"], spoken)
    with pytest.raises(TextualizeError, match=r"not written: .*the id 'dia0_utt0'"):
        shared(corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clip_is_found_again_with_the_key_only_and_people_stay_together(corpus, tmp_path):
    first, again = shared(corpus, tmp_path / "a"), shared(corpus, tmp_path / "b")
    assert everything(first) == everything(again)
    assert json.loads((tmp_path / "key.json").read_text())["salt"] not in everything(first)
    assert (tmp_path / "key.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key.json").unlink()
    other = shared(corpus, tmp_path / "c")
    ids = [r["id"] for r in rows_of(first)]
    assert not set(ids) & {r["id"] for r in rows_of(other)} and len(set(ids)) == 48
    assert ids == sorted(ids)  # the corpus' own order would say which clip is which
    sizes = sorted(sum(r["subject"] == s for r in rows_of(first)) for s in subjects(first))
    assert sizes == [8] * 6
    assert len({r["group"] for r in rows_of(first)}) == 12
    assert len({(r["group"], r["split"]) for r in rows_of(first)}) == 12


def subjects(folder: Path) -> set[str]:
    return {r["subject"] for r in rows_of(folder)}


def test_people_are_never_called_as_somebody_was_before(corpus, tmp_path):
    entries = [replace(e, clip=replace(e.clip, subject=f"s{n % 6:02}"))
               for n, e in enumerate(corpus.entries())]  # fmt: skip
    corpus.write_entries(entries)
    assert all(s.startswith("sx") for s in subjects(shared(corpus, tmp_path / "out")))


def test_times_count_from_the_start_of_the_clip(corpus, tmp_path):
    folder = shared(corpus, tmp_path / "out")
    assert {(r["start"], r["end"]) for r in rows_of(folder)} == {("0.0", "2.0")}
    folder = shared(corpus, tmp_path / "turns", "rttm")
    onsets = {line.split()[3] for line in (folder / "speech.rttm").read_text().splitlines()}
    assert onsets == {"0.500"}


def test_words_can_be_left_out(corpus, tmp_path):
    folder = shared(corpus, tmp_path / "out", "hf", transcript=False, turns=2)
    text = everything(folder)
    assert "right" not in text and "Words" not in text and "'speech'" not in text
    assert "The words spoken were left out" in text
    with pytest.raises(TextualizeError, match="leaves nothing"):
        shared(corpus, tmp_path / "none", "srt", transcript=False)


def test_names_that_are_spoken_are_counted_where_they_are_not_masked(corpus, tmp_path):
    key = Share(tmp_path / "key.json")
    made = export_corpus(corpus, tmp_path / "out", Request("csv", share=key))
    assert any("--mask-names" in note for note in made.notes)
    assert {f.kind for f in verify_share(made.folder, corpus)} == {"spoken name"}
    assert "Joey" in everything(made.folder)


def test_predictions_go_with_it(corpus, tmp_path):
    given_ = [Prediction(e.clip.id, "m", "joy", {"joy": 1.0}) for e in corpus.iter_entries()]
    write_predictions(tmp_path / "p.jsonl", given_)
    folder = shared(corpus, tmp_path / "out", predictions=tmp_path / "p.jsonl")
    assert {r["prediction"] for r in rows_of(folder)} == {"joy"}


def test_masking_keeps_words_that_are_no_names():
    names = name_words(PEOPLE)
    assert names == {"Joey", "Rachel", "Green", "Heckles"}
    assert (
        masked("All right, Mr. Heckles. green grass", names)
        == f"All right, Mr. {MASK}. green grass"
    )
    assert masked("Jose\u0301 and JOSÉ", name_words(["José"])) == f"{MASK} and {MASK}"


@given(st.text(), st.lists(st.text(max_size=8), max_size=4))
def test_no_name_is_left_after_masking(text, speakers):
    names = name_words(speakers)
    left = set(masked(text, names).replace(MASK, " ").split())
    assert not left & (names - {"name"})


def test_the_key_and_its_options_are_checked(corpus, tmp_path):
    (tmp_path / "bad.json").write_text('{"salt": "short"}')
    with pytest.raises(TextualizeError, match="holds no key"):
        read_key(tmp_path / "bad.json")
    inside = Request("csv", share=Share(tmp_path / "out" / "key.json"))
    with pytest.raises(TextualizeError, match="must stay private"):
        export_corpus(corpus, tmp_path / "out", inside)
    for more in ({"mask": True}, {"transcript": False}, {"key": tmp_path / "k"}):
        with pytest.raises(TextualizeError, match="go with --share"):
            share_options(tmp_path / "out", False, **more)
    names = tmp_path / "names.txt"
    names.write_text("Zoë Q\n\nanna\n")
    asked = share_options(tmp_path / "out", True, mask=True, names=names)
    assert asked.names == ("Zoë Q", "anna") and asked.key == tmp_path / "out.key.json"


def test_given_names_are_masked_as_they_are_written(corpus, tmp_path):
    folder = shared(corpus, tmp_path / "out", names=("joey",))
    assert "joey" not in everything(folder)
    assert len(rows_of(folder)) == 48
