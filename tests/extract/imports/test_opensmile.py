"""openSMILE's tables: functionals and descriptors, three dialects, units, one line per damage."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.extract.imports.opensmile import OpenSmileTable, unit_of
from textualize.extract.sensor import Reading
from textualize.extract.sensor import read as read_clip
from textualize.extract.video import open_media
from textualize.types import Clip, Span

LLD = "name;frameTime;Loudness_sma3;F0semitoneFrom27.5Hz_sma3nz\n"


def read(table: str | Path, span: Span | None = None) -> Reading:
    clip = Clip("clip", None, span, sidecars={"opensmile": str(table)})
    return read_clip(OpenSmileTable(), open_media(clip))


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_functionals_of_a_real_corpus(assets: Path) -> None:
    path = assets / "data/ravdess/clip_egemapsv02_actors01-16.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows[:: len(rows) // 7]:
        track = read(f"{path}#{row['clip']}", Span(0.0, 4.0)).tracks["egemaps"]
        assert track.values.shape == (1, 88) and track.unit == "named"
        assert track.rate_hz == pytest.approx(0.25) and track.source == "opensmile"
        given = [float(v) for k, v in row.items() if k != "clip"]
        assert track.values[0] == pytest.approx(given, rel=1e-6)
    assert "research" in read(f"{path}#{rows[0]['clip']}").status.reason
    with pytest.raises(TextualizeError, match=r"holds 960 clips; name one"):
        read(path)
    with pytest.raises(TextualizeError, match=r"no row 'x' in its column 'clip' \(960 rows"):
        read(f"{path}#x")


def test_every_column_says_its_unit(assets: Path) -> None:
    path = assets / "data/ravdess/clip_egemapsv02_actors01-16.csv"
    names = path.read_text().splitlines()[0].split(",")[1:]
    units = {n: unit_of(n) for n in names}
    assert units["F0semitoneFrom27.5Hz_sma3nz_amean"] == "st"
    assert units["F3frequency_sma3nz_amean"] == units["F1bandwidth_sma3nz_amean"] == "hz"
    assert units["F1amplitudeLogRelF0_sma3nz_amean"] == units["equivalentSoundLevel_dBp"] == "db"
    assert units["slopeUV500-1500_sma3nz_amean"] == "db_per_hz"
    assert units["MeanUnvoicedSegmentLength"] == units["StddevVoicedSegmentLengthSec"] == "s"
    assert units["loudnessPeaksPerSec"] == "per_s"
    assert {n for n, u in units.items() if u == "ratio"} >= {n for n in names if "Norm" in n}
    assert all("loudness" in n.lower() or "mfcc" in n or "Flux" in n
               for n, u in units.items() if u.startswith("arb"))  # fmt: skip


def test_descriptors_over_time_are_cut_to_the_span(tmp_path: Path) -> None:
    rows = "".join(f"'a';{i / 100:.2f};{i};{i / 2}\n" for i in range(50))
    track = read(write(tmp_path / "a.csv", LLD + rows), Span(0.1, 0.2)).tracks["egemaps_lld"]
    assert track.rate_hz == pytest.approx(100) and track.start == pytest.approx(0.1)
    assert track.column("Loudness_sma3_arb").tolist() == list(range(10, 20))
    assert track.names[1].endswith("_st")


def test_the_python_package_writes_times_as_days(tmp_path: Path) -> None:
    text = "file,start,end,Loudness_sma3\n" + "".join(
        f"wav/a.wav,0 days 00:00:0{i * 0.5:.6f},0 days 00:00:0{i * 0.5 + 1:.6f},{i}\n"
        for i in range(4)
    )
    reading = read(f"{write(tmp_path / 'a.csv', text)}#a")
    track = reading.tracks["egemaps_lld"]
    assert track.rate_hz == pytest.approx(2) and track.values[:, 0].tolist() == [0, 1, 2, 3]
    one = "file,start,end,Loudness_sma3_amean\na.wav,0 days,0 days 00:00:02.500000,7\n"
    track = read(write(tmp_path / "b.csv", one)).tracks["egemaps"]
    assert track.rate_hz == pytest.approx(1 / 2.5)


def test_other_sets_have_another_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "name;pcm_RMSenergy_sma_max\na;0.5\n")
    assert list(read(path).tracks) == ["opensmile"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_line_ends_and_byte_order_mark(tmp_path: Path, delimiter: str, end: str) -> None:
    text = "\ufeff" + (LLD + "x;0.0;1.0;2.0\nx;0.01;1.5;\n").replace(";", delimiter)
    track = read(write(tmp_path / "a.csv", text.replace("\n", end))).tracks["egemaps_lld"]
    assert track.values[0].tolist() == [1.0, 2.0] and np.isnan(track.values[1, 1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (LLD, "a header but no rows"),
        (LLD + "x;0;1\n", r"a.csv:2: 3 cells where the header has 4"),
        (LLD + "x;0;1;1\nx;1;0,5;1\n", r"a.csv:3: column 'Loudness_sma3': '0,5'.*with a point"),
        (LLD + "x;0;inf;1\n", r"a.csv:2: column 'Loudness_sma3': 'inf' is not a number"),
        ("name;frameTime;a;a\nx;0;1;2\n", r"a.csv:1: column 'a' is there twice"),
        ((LLD + "x;0;1;1\nJosé;0;1;1\n").encode("latin-1"), r"a.csv:3: byte 0xe9 is not UTF-8"),
        (LLD.encode("utf-16"), "is not UTF-8"),
        (LLD + "x;;1;1\nx;1;2;1\n", "rows without a time"),
        (LLD + "x;1;1;1\nx;0;2;1\n", "do not increase: 0 s after 1 s"),
        (LLD + "x;0;1;1\ny;1;2;1\n", "holds 2 clips; name one: a.csv#x"),
        ("name;a\nx;1\nx;2\n", "2 rows for clip 'clip' and no column frameTime"),
        ("name;start;a\nx;noon;1\nx;2;1\n", r"a.csv:2: 'noon' is not a time"),
        ("name|frameTime|a\nx|0|1\n", "is not a number|none of the columns"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(TextualizeError, match=says) as caught:
        read(write(tmp_path / "a.csv", text))
    assert "\n" not in str(caught.value)


def test_a_damaged_row_is_only_its_clips(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "clip,loudness_sma3_amean\na,1\nb,oops\nc,3\n")
    assert read(f"{path}#c").tracks["egemaps"].values.tolist() == [[3.0]]
    with pytest.raises(TextualizeError, match=r"a.csv:3: .*'oops'"):
        read(f"{path}#b")
