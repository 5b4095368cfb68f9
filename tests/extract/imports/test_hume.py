"""Hume's JSON: every model's scores by person, words, failed inputs; on files in its shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textualize.describe import describe
from textualize.errors import TextualizeError
from textualize.extract.imports.hume import HumeScores, HumeTranscript
from textualize.extract.sensor import Reading, Sensor
from textualize.extract.sensor import read as read_clip
from textualize.extract.video import open_media
from textualize.types import Clip, Record, Span

CLIP = Span(0.0, 3.0)


def scores(**given: float) -> list[dict[str, Any]]:
    return [{"name": name.replace("_", " "), "score": score} for name, score in given.items()]


def face(time: float, joy: float, **more: Any) -> dict[str, Any]:
    box = {"x": 10 + time, "y": 20, "w": 30, "h": 40}
    return {"frame": round(time * 30), "time": time, "prob": 0.99, "box": box,
            "emotions": scores(Joy=joy, Surprise_negative=0.1), "facs": None,
            "descriptions": None, **more}  # fmt: skip


def heard(begin: float, end: float, joy: float, text: str | None = None) -> dict[str, Any]:
    time = {"begin": begin, "end": end}
    return {"text": text, "time": time, "confidence": 0.9, "emotions": scores(Joy=joy)}


def grouped(**groups: list[dict[str, Any]]) -> dict[str, Any]:
    listed = [{"id": who, "predictions": rows} for who, rows in groups.items()]
    return {"metadata": {"detected_language": "en"}, "grouped_predictions": listed}


def job(path: Path, errors: list[dict[str, str]] | None = None, **files: dict[str, Any]) -> Path:
    predictions = [{"file": name.replace("_", "."), "models": m} for name, m in files.items()]
    results = {"predictions": predictions, "errors": errors or []}
    path.write_text(json.dumps([{"source": {"type": "file"}, "results": results}]))
    return path


ALL = {
    "face": grouped(
        face_0=[face(t / 3, t / 10, facs=scores(AU1_Inner_Brow_Raise=0.4)) for t in range(9)],
        face_1=[face(0.0, 0.9)],
    ),
    "facemesh": grouped(unknown=[{"emotions": scores(Joy=0.3)}]),
    "prosody": grouped(anna=[heard(0, 1, 0.2, "good morning")], ben=[heard(1, 2, 0.4, "hello")]),
    "burst": grouped(unknown=[heard(2.0, 2.5, 0.7)]),
    "language": grouped(
        unknown=[
            {**heard(0, 1, 0.1, "good"), "sentiment": scores(positive=0.8),
             "toxicity": scores(insult=0.01)}
        ]
    ),
    "ner": grouped(unknown=[{**heard(0, 1, 0.5), "entity": "Monday"}]),
}  # fmt: skip


def read(sensor: Sensor, path: Path | str, span: Span | None = CLIP) -> Reading:
    return read_clip(sensor, open_media(Clip("a", None, span, sidecars={"hume": str(path)})))


def test_every_model_becomes_a_track(tmp_path: Path) -> None:
    reading = read(HumeScores(), job(tmp_path / "a.json", a_mp4=ALL))
    assert set(reading.tracks) == {
        "hume_face", "hume_face_facs", "hume_box", "hume_facemesh", "hume_prosody", "hume_burst",
        "hume_language", "hume_language_sentiment", "hume_language_toxicity", "hume_ner",
    }  # fmt: skip
    assert {t.unit for t in reading.tracks.values()} == {"named"}
    track = reading.tracks["hume_face"]
    assert track.names == ("joy_hume", "surprise_negative_hume")
    assert track.rate_hz == pytest.approx(3)
    assert track.values[:, 0] == pytest.approx(np.arange(9) / 10)
    assert reading.tracks["hume_face_facs"].names == ("au1_inner_brow_raise_hume",)
    assert reading.tracks["hume_box"].column("w_px").tolist() == [30] * 9
    assert "face: 1 other persons left out" in reading.status.reason


def test_stretches_of_speech_fill_their_time(tmp_path: Path) -> None:
    tracks = read(HumeScores(rate_hz=4), job(tmp_path / "a.json", a_mp4=ALL)).tracks
    burst = tracks["hume_burst"].values[:, 0]
    assert np.flatnonzero(np.isfinite(burst)).tolist() == [8, 9] and len(burst) == 12
    ben = read(HumeScores(person="ben", rate_hz=4), job(tmp_path / "a.json", a_mp4=ALL))
    assert np.nanmax(ben.tracks["hume_prosody"].values) == pytest.approx(0.4)


def test_one_of_two_persons_is_chosen(tmp_path: Path) -> None:
    path = job(tmp_path / "a.json", a_mp4=ALL)
    values = read(HumeScores(person="face_1"), path).tracks["hume_face"].values
    assert values.shape == (1, 2) and values[0, 0] == pytest.approx(0.9)


def test_words_with_speaker_and_language(tmp_path: Path) -> None:
    reading = read(HumeTranscript(), job(tmp_path / "a.json", a_mp4=ALL))
    assert [(u.speaker, u.text) for u in reading.utterances] == [
        ("anna", "good morning"), ("ben", "hello")
    ]  # fmt: skip
    assert {u.language for u in reading.utterances} == {"en"}
    assert reading.utterances[0].confidence == 0.9
    record = Record(Clip("a", None), {}, reading.utterances, {"speech": reading.status})
    assert describe(record, ["speech"])[0].text == "good morning"


def test_without_prosody_the_words_of_language_are_taken(tmp_path: Path) -> None:
    only = {"language": ALL["language"], "face": ALL["face"]}
    reading = read(HumeTranscript(), job(tmp_path / "a.json", a_mp4=only))
    assert [u.text for u in reading.utterances] == ["good"]
    silent = read(HumeTranscript(), job(tmp_path / "b.json", a_mp4={"face": ALL["face"]}))
    assert silent.status.state == "absent"


def test_a_job_of_several_inputs(tmp_path: Path) -> None:
    other = {"face": grouped(face_0=[face(0.0, 0.55)])}
    errors = [{"file": "c.mp4", "message": "no face"}]
    path = job(tmp_path / "job.json", errors, a_mp4=ALL, b_mp4=other)
    assert len(read(HumeScores(), path).tracks["hume_face"].values) == 9
    assert read(HumeScores(), f"{path}#b.mp4").tracks["hume_face"].values[0, 0] > 0.5
    with pytest.raises(TextualizeError, match="job failed on 'c': no face"):
        read(HumeScores(), f"{path}#c")
    with pytest.raises(TextualizeError, match="no input 'd'; it has 3"):
        read(HumeScores(), f"{path}#d")


def test_nothing_found_is_absent(tmp_path: Path) -> None:
    path = job(tmp_path / "a.json", a_mp4={"face": grouped(face_0=[])})
    assert read(HumeScores(), path).status.state == "absent"
    burst = job(tmp_path / "b.json", a_mp4={"burst": ALL["burst"]})
    assert read(HumeScores(), burst).status.state == "observed"
    later = read(HumeScores(), burst, Span(50, 60))
    assert later.status.state == "absent" and "in this span" in later.status.reason


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "has no predictions"),
        ('{"a": 1}', "no 'predictions' in it"),
        ('[{"results": {"predictions": [{"file": "a"}]}}]', "no 'models' in it"),
        (
            '[{"results": {"predictions": [{"file": "a", "models": {"face": {}}}]}}]',
            "Hume found nothing",
        ),
    ],
)
def test_what_is_not_humes_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    try:
        said = read(HumeScores(), path).status.reason
    except TextualizeError as error:
        said = str(error)
    assert says in said and "\n" not in said


def test_a_score_that_is_no_number(tmp_path: Path) -> None:
    broken = face(0.0, 0.1) | {"emotions": [{"name": "Joy", "score": "high"}]}
    path = job(tmp_path / "a.json", a_mp4={"face": grouped(face_0=[broken])})
    with pytest.raises(TextualizeError, match="face of 'face_0': .*'high'"):
        read(HumeScores(), path)
