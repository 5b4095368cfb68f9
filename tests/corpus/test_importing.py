"""Imports into a corpus: matching, what stays, what is left over, real files there and back."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from textualize.corpus.cli import app
from textualize.corpus.importing import FORMATS, import_files
from textualize.datasets import Listing, load_dataset
from textualize.errors import TextualizeError
from textualize.extract.sensor import SENSORS, make_sensor
from textualize.store import Corpus
from textualize.types import Clip

SRT = "1\n00:00:00,000 --> 00:00:02,000\n{}\n"
RTTM = "SPEAKER {} 1 0.0 2.0 <NA> <NA> anna <NA> <NA>\n"


def texts(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.srt").write_text(SRT.format(f"words of {name}"))
    return folder


def listing(*names: str) -> Listing:
    return Listing(tuple(Clip(n, None, subject=f"s{n}") for n in names), None)


def test_every_format_names_sensors_that_read_files() -> None:
    for name, form in FORMATS.items():
        for spec in form.sensors:
            assert spec in SENSORS and make_sensor(spec).reads == (), name
        assert form.sensors[-1] == name or name == "transcript"


def test_clips_are_made_of_files_where_there_are_none(tmp_path: Path) -> None:
    made = import_files("transcript", texts(tmp_path / "t", "a", "b"), tmp_path / "c")
    records = {r.clip.id: r for r in made.outcome.corpus.records()}
    assert sorted(records) == ["a", "b"] and records["b"].transcript == "words of b"
    assert (made.unused, made.without, made.replaced) == ((), (), 0)


def test_left_over_files_and_clips_are_listed(tmp_path: Path) -> None:
    folder = texts(tmp_path / "t", "a", "b", "x")
    made = import_files("transcript", folder, tmp_path / "c", listing=listing("a", "b", "d"))
    assert [Path(u).name for u in made.unused] == ["x.srt"] and made.without == ("d",)
    assert made.outcome.clips == 2


def test_other_modalities_and_the_clips_labels_stay(tmp_path: Path, assets: Path) -> None:
    clips = Listing((Clip("001", None, label="good", subject="s"),), None)
    import_files("transcript", texts(tmp_path / "t", "001"), tmp_path / "c", listing=clips)
    made = import_files(
        "fex", assets / "data/pyfeat/news_sample/001.csv", tmp_path / "c", options={"fps": "25"}
    )
    (record,) = made.outcome.corpus.records()
    assert record.clip.label == "good" and record.transcript == "words of 001"
    assert record.tracks["aus"].unit == "probability"
    assert set(record.clip.sidecars) == {"transcript", "fex"}
    assert made.replaced == 0


def test_a_modality_from_elsewhere_is_replaced_and_counted(tmp_path: Path, assets: Path) -> None:
    tables = assets / "data/pyfeat/news_sample"
    import_files("fex", tables / "001.csv", tmp_path / "c", options={"fps": "25"})
    again = import_files("fex", tables / "001.csv", tmp_path / "c", options={"fps": "25"})
    assert (again.replaced, again.outcome.reused) == (0, 1)
    other = import_files("fex", tables / "001.csv", tmp_path / "c", options={"fps": "30"})
    assert (other.replaced, other.outcome.read) == (1, 1)


def test_patterns_say_what_a_clips_file_is_called(tmp_path: Path) -> None:
    folder = texts(tmp_path / "t", "take-1", "take-2")
    with pytest.raises(TextualizeError, match="none of 2 files or rows .*--match"):
        import_files("transcript", folder, tmp_path / "c", listing=listing("a-1", "a-2"))
    made = import_files(
        "transcript", folder, tmp_path / "c", listing=listing("a-1", "a-2"), match="take-{id:2:}"
    )
    assert [r.transcript for r in made.outcome.corpus.records()] == [
        "words of take-1", "words of take-2"
    ]  # fmt: skip
    for wrong in ("{name}", "{id:x}", "{"):
        with pytest.raises(TextualizeError, match="should be like"):
            import_files("transcript", folder, tmp_path / "c", listing=listing("a-1"), match=wrong)


def test_two_files_for_a_clip_are_refused(tmp_path: Path) -> None:
    texts(tmp_path / "t", "a")
    texts(tmp_path / "t" / "more", "a")
    with pytest.raises(TextualizeError, match="clip 'a' has 2 files or rows called 'a'"):
        import_files("transcript", tmp_path / "t", tmp_path / "c", listing=listing("a"))
    made = import_files(
        "transcript", tmp_path / "t", tmp_path / "c", listing=listing("a"), match="more/{id}.srt"
    )
    assert len(made.unused) == 1


def test_rows_of_a_real_table_there_and_back(tmp_path: Path, assets: Path) -> None:
    root = assets / "data/ravdess"
    table = root / "clip_egemapsv02_actors01-16.csv"
    known = load_dataset("ravdess", root)
    few = Listing(known.clips[:6], known.labels)
    made = import_files("opensmile", table, tmp_path / "c", listing=few, match="01-{id:3:}")
    assert len(made.unused) == 954 and not made.outcome.failures
    with table.open(newline="") as stream:
        rows = {row["clip"]: list(row.values())[1:] for row in csv.DictReader(stream)}
    for record in made.outcome.corpus.records():
        wanted = np.array(rows["01-" + record.clip.id[3:]], np.float32)
        np.testing.assert_array_equal(record.tracks["egemaps"].values[0], wanted)
    assert made.outcome.corpus.labels == known.labels


def test_frames_of_a_real_openface_folder(tmp_path: Path, assets: Path) -> None:
    folder = assets / "data/ravdess/au_frames/Actor_01"
    made = import_files("openface", folder, tmp_path / "c")
    files = sorted(folder.glob("*.csv"))
    assert made.outcome.clips == len(files) == made.outcome.read
    record = next(r for r in made.outcome.corpus.records() if r.clip.id == files[0].stem)
    with files[0].open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    wanted = np.array([float(row["AU12_r"]) for row in rows], np.float32)
    np.testing.assert_array_equal(record.tracks["aus"].column("AU12"), wanted)


def test_turns_give_a_transcript_its_speakers(tmp_path: Path) -> None:
    import_files("transcript", texts(tmp_path / "t", "a"), tmp_path / "c")
    path = tmp_path / "a.rttm"
    path.write_text(RTTM.format("a"))
    made = import_files("rttm", path, tmp_path / "c")
    (record,) = made.outcome.corpus.records()
    assert record.transcript == "words of a" and record.utterances[0].speaker == "anna"


def test_a_recognisers_words_are_not_replaced_by_turns(tmp_path: Path) -> None:
    elan = tmp_path / "a.txt"
    elan.write_text("speech\t\t0\t1000\t1000\thello\n")
    import_files("elan", elan, tmp_path / "c")
    (tmp_path / "a.rttm").write_text(RTTM.format("a"))
    with pytest.raises(TextualizeError, match="all 1 clips have words of a recogniser"):
        import_files("rttm", tmp_path / "a.rttm", tmp_path / "c")
    assert Corpus(tmp_path / "c").records()[0].transcript == "hello"


def test_the_command_says_what_is_in_quarantine(
    tmp_path: Path, assets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = tmp_path / "faces"
    faces.mkdir()
    for name in ("001", "002"):
        shutil.copyfile(assets / f"data/pyfeat/news_sample/{name}.csv", faces / f"{name}.csv")
    command = ["import", "fex", str(faces), "-o", str(tmp_path / "c"), "--option", "fps=25"]
    assert app([*command, "--json"], standalone_mode=False) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["read"] == 2 and told["unused"] == [] and told["states"]["face"] == {"observed": 2}
    (faces / "002.csv").write_text("frame,AU01\n0,7\n")
    assert app(command, standalone_mode=False) == 2
    assert "002.csv:2: AU01 is 7, expected 0 to 1" in " ".join(capsys.readouterr().err.split())


def test_what_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    folder = texts(tmp_path / "t", "a")
    for name, path, options, says in (
        ("arff", folder, {}, "no import format named 'arff'"),
        ("fex", folder, {}, "no file under .* ends in .csv"),
        ("fex", tmp_path / "none", {}, "no file or folder at"),
        ("transcript", folder, {"fps": "2"}, "no option of sensor 'sidecar' named 'fps'"),
    ):
        with pytest.raises(TextualizeError, match=says):
            import_files(name, path, tmp_path / "c", options=options)
    assert not (tmp_path / "c").exists()
