"""ELAN's text: every way of writing rows and times gives the same annotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.extract.imports.elan import ElanRatings, ElanTranscript, read_annotations
from textualize.extract.sensor import Reading, Sensor
from textualize.extract.sensor import read as read_clip
from textualize.extract.video import open_media
from textualize.types import Clip, Span

ANNOTATIONS = [
    ("speech", "anna", 250, 1500, "good morning"),
    ("speech", "ben", 1500, 2000, "12 o'clock"),
    ("valence", "", 0, 1000, "3"),
    ("valence", "", 1000, 2000, "-1.5"),
]
FORMATS = {
    "hh:mm:ss.ms": lambda ms: f"00:00:{ms // 1000:02d}.{ms % 1000:03d}",
    "ss.msec": lambda ms: f"{ms / 1000:.3f}",
    "msec": str,
}


def rows(kinds: list[str], *, duration: bool, header: bool) -> str:
    parts = ["Begin Time", "End Time", *(["Duration"] if duration else [])]
    lines = []
    if header:
        names = [f"{p} - {k}" for p in parts for k in kinds]
        lines.append("\t".join(["Tier", "Participant", *names, "Annotation"]))
    for tier, who, begin, end, value in ANNOTATIONS:
        numbers = [begin, end, *([end - begin] if duration else [])]
        times = [FORMATS[k](n) for n in numbers for k in kinds]
        lines.append("\t".join([tier, who, *times, value]))
    return "\n".join(lines) + "\n"


def read(sensor: Sensor, path: Path, span: Span | None = None) -> Reading:
    return read_clip(sensor, open_media(Clip("a", None, span, sidecars={"elan": str(path)})))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("kinds", [["hh:mm:ss.ms"], ["ss.msec"], ["msec"], list(FORMATS)])
@pytest.mark.parametrize("duration", [True, False])
@pytest.mark.parametrize("header", [True, False])
def test_every_way_of_writing_gives_the_same(
    tmp_path: Path, kinds: list[str], duration: bool, header: bool
) -> None:
    path = write(tmp_path / "a.txt", rows(kinds, duration=duration, header=header))
    found = [
        (a.tier, a.participant, round(a.span.start * 1000), round(a.span.end * 1000), a.value)
        for a in read_annotations(path)
    ]
    assert found == ANNOTATIONS


def test_tiers_of_words_and_tiers_of_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", rows(["msec"], duration=True, header=True))
    said = read(ElanTranscript(), path)
    assert [(u.speaker, u.text) for u in said.utterances] == [
        ("anna", "good morning"), ("ben", "12 o'clock")
    ]  # fmt: skip
    assert said.status.reason == "not read: valence"
    track = read(ElanRatings(rate_hz=4), path).tracks["ratings"]
    assert track.names == ("valence_rating",) and track.unit == "named"
    assert track.values[:, 0].tolist() == [3.0] * 4 + [-1.5] * 4
    cut = read(ElanRatings(rate_hz=4), path, Span(0.5, 1.5)).tracks["ratings"]
    assert cut.values[:, 0].tolist() == [3.0] * 2 + [-1.5] * 2 and cut.start == 0.5


def test_one_column_a_tier(tmp_path: Path) -> None:
    text = (
        '"#file:///films/a.wav -- offset: 0"\n'
        "Begin Time - msec\tEnd Time - msec\tDuration - msec\tanna\tarousal\n"
        "0\t500\t500\thi\t\n500\t1000\t500\t\t0,5\n"
    )
    path = write(tmp_path / "a.txt", text)
    assert read(ElanTranscript(), path).utterances[0].speaker == "anna"
    values = read(ElanRatings(rate_hz=2), path).tracks["ratings"].values
    assert np.isnan(values[0, 0]) and values[1, 0] == 0.5


def test_chosen_tiers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", rows(["msec"], duration=True, header=False))
    assert len(read(ElanTranscript(tiers="valence"), path).utterances) == 2
    with pytest.raises(TextualizeError, match="no tier 'words'; it has speech, valence"):
        read(ElanTranscript(tiers="speech|words"), path)
    with pytest.raises(TextualizeError, match="tier 'speech' has values that are not numbers"):
        read(ElanRatings(tiers="speech"), path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("speech,1,2,hi\n", r"a.txt:1: 1 columns between tabs"),
        ("speech\tanna\tben\thi\n", r"a.txt:1: no time in"),
        ("s\t0\t10\thi\ns\tnoon\t20\tho\n", r"a.txt:2: 'noon' is not a time"),
        ("s\t0\t10\thi\ns\t30\t20\tho\n", r"a.txt:2: ends at 20 before it begins at 30"),
        ("Tier\tBegin Time - msec\tAnnotation\ns\t1\thi\n", "no end time"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(TextualizeError, match=says) as caught:
        read(ElanTranscript(), write(tmp_path / "a.txt", text))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("s\t0\t10\thi\ns\t10\t20\tJosé\n".encode("latin-1"))
    with pytest.raises(TextualizeError, match=r"a.txt:2: byte 0xe9 is not UTF-8"):
        read(ElanTranscript(), tmp_path / "a.txt")
