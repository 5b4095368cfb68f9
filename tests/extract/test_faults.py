"""Hundreds of damaged and odd files, crashing decoders: each costs its own clip, and says why."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from textualize import store
from textualize.datasets.folder import load_paths
from textualize.extract.pipeline import extract_corpus
from textualize.extract.video import media_digest, open_media
from textualize.store import Corpus
from textualize.types import Clip

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # pytest's importlib mode leaves it out

from damage import (  # noqa: E402
    RATE,
    Case,
    encode,
    film,
    flipped,
    misnamed,
    not_files,
    not_media,
    odd_names,
    odd_streams,
    originals,
    playlists,
    truncated,
)

MEMORY_MB = 800  # of any one process; a third of it is the interpreter with its libraries
FILES = 300


@dataclass(frozen=True)
class Drill:
    """What was given, by clip id, and what came of it."""

    cases: dict[str, Case]
    said: dict
    corpus: Corpus
    asked: socket.socket

    @property
    def failures(self) -> dict[str, list[str]]:
        """The quarantine's reasons by clip."""
        found: dict[str, list[str]] = {}
        for one in self.corpus.failures():
            found.setdefault(one.clip, []).append(one.error)
        return found


def drilled(
    folder: Path, cases: dict[str, Path], sensors: list[str], workers: int, **options: float
) -> dict:
    """Extract in processes of their own and return what `drill.py` prints."""
    job = {
        "clips": [(name, str(path)) for name, path in cases.items()],
        "corpus": str(folder / "corpus"),
        "sensors": sensors,
        "workers": workers,
        **options,
    }
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, str(HERE / "drill.py"), str(folder / "job.json")],
        capture_output=True, text=True, timeout=200, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def material() -> Path | None:
    """A real clip, where there is one; the files are as damaged without it."""
    root = Path(os.environ.get("TEXTUALIZE_ASSETS", "../shared")).resolve()
    real = root / "data/grid/bbaf2n.mpg"
    return real if real.is_file() else None


@pytest.fixture(scope="module")
def drill(tmp_path_factory, material) -> Drill:
    root = tmp_path_factory.mktemp("drill")
    made = film(material)
    whole = originals(root / "whole", made)
    picture = encode(root / "small.jpg", made.pictures[:1], None, video="mjpeg",
                     pix_fmt="yuvj420p", form="image2")  # fmt: skip
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    def inside(name: str) -> Path:
        (root / name).mkdir()
        return root / name

    cases = [
        *(Case(path, "read") for path in whole),
        *truncated(inside("truncated"), whole),
        *flipped(inside("flipped"), whole),
        *misnamed(inside("misnamed"), whole, picture),
        *not_media(inside("not media")),
        *playlists(inside("lists"), root / "whole/film.ts", listener.getsockname()[1]),
        *odd_streams(inside("odd"), made),
        *odd_names(inside("names"), whole[0], picture),
        *not_files(inside("nothing")),
    ]
    named = {
        f"{n:03}-{case.path.parent.name}-{case.path.name}": case for n, case in enumerate(cases)
    }
    paths = {name: case.path for name, case in named.items()}
    said = drilled(root, paths, ["count", "prosody"], workers=2)
    yield Drill(named, said, Corpus(root / "corpus"), listener)
    listener.close()
    shutil.rmtree(root)


def test_every_file_is_read_or_in_quarantine_with_a_reason(drill):
    assert len(drill.cases) >= FILES and drill.said["clips"] == len(drill.cases)
    read = {e.clip.id for e in drill.corpus.entries() if not e.failed}
    assert read.isdisjoint(drill.failures)
    assert read | set(drill.failures) == set(drill.cases)
    for reasons in drill.failures.values():
        for reason in reasons:
            assert reason.startswith("cannot read ") and len(reason) > 20
            assert len(reason.splitlines()) == 1


def test_no_reader_died_or_stalled(drill):
    reasons = [r for all_of in drill.failures.values() for r in all_of]
    assert not [r for r in reasons if "the reader" in r or "given up" in r]


@pytest.mark.parametrize("expected", ["read", "fails"])
def test_what_can_be_read_is_and_what_cannot_is_not(drill, expected):
    wrong = {
        name: drill.failures.get(name)
        for name, case in drill.cases.items()
        if case.expected == expected and (name in drill.failures) != (expected == "fails")
    }
    assert not wrong


def test_damage_is_survived_more_often_than_not(drill):
    hurt = [name for name, case in drill.cases.items() if case.expected == "either"]
    kept = [e for e in drill.corpus.entries() if e.clip.id in set(hurt)]
    assert len(kept) > len(hurt) / 3
    assert len(kept) < len(hurt), "nothing was damaged"


def test_no_process_had_more_memory_than_a_laptop_gives(drill):
    assert 50 < drill.said["peak_mb"] < MEMORY_MB, drill.said["peak_mb"]


@pytest.mark.slow
def test_the_real_sensors_survive_all_of_them(drill, tmp_path):
    paths = {name: case.path for name, case in drill.cases.items()}
    said = drilled(tmp_path, paths, ["mediapipe", "prosody"], workers=2)
    corpus = Corpus(tmp_path / "corpus")
    reasons = {f.clip: f.error for f in corpus.failures()}
    assert {e.clip.id for e in corpus.entries()} | set(reasons) == set(paths)
    assert all(reason.startswith("cannot read ") for reason in reasons.values())
    assert not [n for n, case in drill.cases.items() if case.expected == "read" and n in reasons]
    assert 50 < said["peak_mb"] < 1200


def test_lists_are_not_followed(drill):
    with pytest.raises(BlockingIOError):
        drill.asked.accept()


def test_odd_streams_are_read_as_what_they_are(drill):
    read = {r.clip.id.partition("-odd-")[2]: r for r in drill.corpus.records()}
    seen = {name: r.tracks["count"].values[0] for name, r in read.items() if "count" in r.tracks}
    assert seen["8k.mkv"].tolist() == [1, 7680 * 4320]
    assert seen["one-frame.mp4"][0] == seen["one-frame-silent.mkv"][0] == 1
    assert seen["1x1.mkv"][1] == 1 and seen["17x31.mkv"][1] == 17 * 31
    assert seen["17x31-4to1.mp4"][1] == 4 * 17 * 31
    assert seen["17x31-1to100.mp4"][1] == 17 * 31, "an aspect no camera has"
    assert seen["turned90.mp4"][1] == seen["silent.mp4"][1] == 160 * 128
    assert "count" not in read["blind.mp4"].tracks
    assert read["blind.mp4"].status["face"].state == "absent"
    assert read["silent.mp4"].status["prosody"].state == "absent"
    assert seen["long-sound.mp4"][0] == RATE // 2 + 1
    heard = {n: len(r.tracks["prosody"].values) for n, r in read.items() if "prosody" in r.tracks}
    assert 990 <= heard["long-sound.mp4"] <= 1010 and 95 <= heard["blind.mp4"] <= 105
    assert heard["covered.mp3"] == heard["plain.mp3"] and "covered.mp3" not in seen


def test_names_survive_the_corpus(drill):
    by_name = {e.clip.id.partition("-names-")[2]: e.clip for e in drill.corpus.entries()}
    for name, case in drill.cases.items():
        if "-names-" in name:
            assert by_name[name.partition("-names-")[2]].video == case.path


@pytest.mark.parametrize("name", ["%03d.jpg", "concat:a.jpg|b.jpg", "file:001.jpg", "data:,x.jpg"])
def test_a_name_is_not_a_pattern_or_a_protocol(tmp_path, monkeypatch, name):
    for path, size in (("001.jpg", 40), ("a.jpg", 40), ("b.jpg", 40), (name, 64)):
        encode(tmp_path / "x.jpg", np.zeros((1, size, size, 3), np.uint8), None, video="mjpeg",
               pix_fmt="yuvj420p", form="image2")  # fmt: skip
        (tmp_path / "x.jpg").rename(tmp_path / path)
    monkeypatch.chdir(tmp_path)
    (frame,) = open_media(Clip("a", Path(name))).frames()
    assert frame.rgb.shape == (64, 64, 3)


def test_no_permission_is_a_reason(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.wav", None, np.ones(800, np.float32), audio="pcm_s16le")
    if os.geteuid():
        path.chmod(0)
    else:  # root may read anything

        def refused(*_args, **_options):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(store.TextualizeError, match=r"a\.wav: permission denied"):
        media_digest(path)


def test_readers_that_crash_cost_their_clips_only(tmp_path):
    deaths = {"SIGSEGV": 5, "SIGKILL": 2, "SIGABRT": 1, "exit": 1}
    fates = [*(name for name, n in deaths.items() for _ in range(n)), *["fine"] * 25]
    np.random.default_rng(3).shuffle(fates)
    cases = {}
    for n, fate in enumerate(fates):
        sound = np.full(1600, (n + 1) / 100, np.float32)
        cases[f"{n:02}-{fate}"] = encode(tmp_path / f"{n:02}.wav", None, sound, audio="pcm_s16le")
    drilled(tmp_path, cases, ["deadly"], workers=2)
    corpus = Corpus(tmp_path / "corpus")
    read = [r.clip.id for r in corpus.records()]
    assert read == [name for name in cases if name.endswith("-fine")] and len(read) == 25
    reasons = {f.clip: f.error for f in corpus.failures()}
    assert set(reasons) == set(cases) - set(read)
    for clip, reason in reasons.items():
        fate = clip.partition("-")[2]
        assert (fate if fate != "exit" else "exit code 3") in reason
        assert ("memory may have run out" in reason) == (fate == "SIGKILL")


@pytest.mark.parametrize(
    ("culprit", "why"),
    [("SIGKILL", "the reader died over this file (SIGKILL"), ("sleep", "not read after 60 s")],
)
def test_a_clip_that_kills_or_stalls_its_reader_is_quarantined_alone(tmp_path, culprit, why):
    cases = {}
    for n, name in enumerate(("a", "b", culprit, "c", "d")):
        sound = np.full(1600, (n + 1) / 100, np.float32)  # equal media would share one result
        cases[name] = encode(tmp_path / f"{n}.wav", None, sound, audio="pcm_s16le")
    drilled(tmp_path, cases, ["deadly"], workers=2, stall_s=60)
    corpus = Corpus(tmp_path / "corpus")
    assert [r.clip.id for r in corpus.records()] == ["a", "b", "c", "d"]
    (failure,) = corpus.failures()
    assert failure.clip == culprit and failure.error.startswith(why)


def test_words_that_break_lines_or_are_no_unicode_survive(tmp_path):
    said = "one\u2028two\u0085three \ud83d four\nfive"
    clips = [Clip("a\u2028b", None, transcript=said), Clip("missing\u0085", tmp_path / "absent")]
    for _ in range(2):
        done = extract_corpus(clips, tmp_path / "c", sensors=["sidecar"], workers=0)
        assert [f.clip for f in done.corpus.failures()] == ["missing\u0085"]
        (record,) = done.corpus.records()
        assert record.clip == clips[0] and "\ud83d four" in (record.transcript or "")


def test_a_number_sign_is_part_of_a_sidecars_name(tmp_path):
    encode(tmp_path / "take#1.wav", None, np.ones(8000, np.float32), audio="pcm_s16le")
    (tmp_path / "take#1.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nhello\n")
    clips = load_paths([tmp_path]).clips
    done = extract_corpus(clips, tmp_path / "c", sensors=["sidecar"], workers=0)
    assert not done.failures and done.corpus.records()[0].transcript == "hello"
