from __future__ import annotations

import asyncio
import tempfile
from io import BytesIO
from pathlib import Path

import pytest
from starlette.datastructures import UploadFile

from textualize.serve import upload
from textualize.serve.schemas import EmotionRequest
from textualize.serve.upload import UploadError, Uploads, checked_ending
from textualize.types import Clip, Record, Span, Status, Utterance


@pytest.fixture
def private(tmp_path, monkeypatch) -> Path:
    """The folder that temporary folders are made in."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd.mp4", "..\\x.mp4", "/var/x.mp4", "a\0b.mp4", "..", "", "x" * 300 + ".mp4"],
)
def test_a_name_that_is_a_path_is_refused(client, private, name):
    with pytest.raises(UploadError):
        checked_ending(name)
    assert not list(private.iterdir())


@pytest.mark.parametrize("name", ["x.py", "x.mp4.jinja", "x", "x.csv", "x.jsonl"])
def test_only_media_endings_are_read(client, name):
    found = client.post("/v1/emotions", files={"clip": (name, b"x", "video/mp4")})
    assert found.status_code == 422 and "ending" in found.json()["error"]["message"]


def test_a_path_in_the_form_is_refused_over_http(client, private):
    form = {"clip": ("../../up.mp4", b"x", "video/mp4")}
    found = client.post("/v1/emotions", files=form)
    assert found.status_code == 422 and "path" in found.json()["error"]["message"]
    assert not list(private.iterdir())


@pytest.mark.parametrize(
    ("files", "data"),
    [({"other": ("x.mp4", b"x")}, {}), ({"clip": ("x.mp4", b"x")}, {"wish": "1"})],
)
def test_forms_of_another_shape_are_refused(client, files, data):
    assert client.post("/v1/emotions", files=files, data=data).status_code in (400, 422)


def test_what_is_no_media_is_refused_and_nothing_stays(client, private):
    form = {"clip": ("me.mp4", b"not a film " * 100, "video/mp4")}
    found = client.post("/v1/emotions", files=form)
    assert found.status_code == 422
    message = found.json()["error"]["message"]
    assert "cannot be read" in message and str(private) not in message
    assert not list(private.iterdir())
    empty = client.post("/v1/emotions", files={"clip": ("me.mp4", b"", "video/mp4")})
    assert "empty" in empty.json()["error"]["message"]


def test_a_clip_is_read_answered_and_deleted(client, private, monkeypatch):
    spoken = Record(
        Clip("clip", None),
        {},
        (Utterance(Span(0, 1), "she is gone"),),
        {"speech": Status("observed", "test")},
    )
    seen = []

    async def read(self, clip, corpus):
        seen.append((clip.read_bytes(), clip.parent.stat().st_mode & 0o777))
        return spoken

    monkeypatch.setattr(Uploads, "_read", read)
    form = {"clip": ("My Film.MP4", b"film", "video/mp4")}
    told = {"id": "x", "explain": "true", "model": "letters"}
    answer = client.post("/v1/emotions", files=form, data=told).json()
    words = EmotionRequest(transcript="she is gone", model="letters").model_dump(exclude_none=True)
    assert answer["probabilities"] == pytest.approx(
        client.post("/v1/emotions", json=words).json()["probabilities"], abs=1e-5
    )
    assert answer["id"] == "x" and answer["contributions"]
    assert seen == [(b"film", 0o700)] and not list(private.iterdir())


def test_a_reader_that_stalls_is_ended(private, monkeypatch):
    monkeypatch.setattr(upload, "READ_S", 0.01)
    one = UploadFile(BytesIO(b"x"), filename="x.wav")
    with pytest.raises(UploadError, match="longer than"):
        asyncio.run(Uploads("embedded", asyncio.Semaphore(1)).record(one))
    assert not list(private.iterdir())


@pytest.mark.slow
def test_a_real_clip_is_read(client, private):
    clip = sorted((Path(__file__).parents[2] / "textualize/demo/clips").glob("*.mp4"))[0]
    with clip.open("rb") as stream:
        found = client.post("/v1/emotions", files={"clip": (clip.name, stream, "video/mp4")})
    assert found.status_code == 200, found.text
    assert "voice" in found.json()["prompt"].lower()
    assert not list(private.iterdir())
