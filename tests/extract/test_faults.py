"""Hundreds of damaged and odd files, crashing decoders, full and closed disks: one clip is lost."""

from __future__ import annotations

import errno
import json
import os
import resource
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
from textualize.store import Corpus, StorageError, read_item
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


def drilled(folder: Path, cases: dict[str, Path], sensors: list[str], workers: int) -> dict:
    """Extract in processes of their own and return what `drill.py` prints."""
    job = {
        "clips": [(name, str(path)) for name, path in cases.items()],
        "corpus": str(folder / "corpus"),
        "sensors": sensors,
        "workers": workers,
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
    assert 50 < drill.said["peak_mb"] < MEMORY_MB


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


# --- disks --------------------------------------------------------------------------------------


def voices(folder: Path) -> Path:
    """Four short recordings and, last, a long one, whose item does not fit into 12 kB."""
    folder.mkdir()
    for n, seconds in enumerate((1, 1, 1, 1, 6)):
        sound = np.sin(np.arange(16000 * seconds) * 2 * np.pi * (100 + n) / 16000).astype("f4") / 2
        encode(folder / f"{n}.wav", None, sound, audio="pcm_s16le")
    return folder


def contents(corpus: Path) -> dict[str, bytes]:
    """Every file of a corpus by name."""
    return {str(p.relative_to(corpus)): p.read_bytes() for p in corpus.rglob("*") if p.is_file()}


def command(media: Path, corpus: Path, limit: int | None = None) -> subprocess.CompletedProcess:
    """Run textualize extract, if asked with no file longer than `limit` bytes."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # type: ignore[arg-type]

    return subprocess.run(
        [sys.executable, "-m", "textualize", "extract", str(media), "-o", str(corpus),
         "--sensors", "prosody", "--workers", "1"],
        capture_output=True, text=True, timeout=120, preexec_fn=limited if limit else None,
    )  # fmt: skip


def unbroken(media: Path, folder: Path) -> dict[str, bytes]:
    """The contents of a corpus that nothing has disturbed."""
    clips = load_paths([media]).clips
    extract_corpus(clips, folder / "unbroken", sensors=["prosody"], workers=0)
    return contents(folder / "unbroken")


def is_one_line(done: subprocess.CompletedProcess, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("textualize: cannot write ") and all(word in line for word in words)


def test_a_file_that_cannot_be_written_stops_the_run_and_damages_nothing(tmp_path):
    media = voices(tmp_path / "m")
    is_one_line(command(media, tmp_path / "c", limit=12_000), "file too large", "run the same")
    kept = contents(tmp_path / "c")
    items = [Path(name).stem for name in kept if name.endswith(".safetensors")]
    assert len(items) == 4 and not [name for name in kept if name.endswith(".tmp")]
    assert all(read_item(tmp_path / "c", key) for key in items)
    assert len(Corpus(tmp_path / "c").records()) == 4
    assert command(media, tmp_path / "c").returncode == 0
    assert contents(tmp_path / "c") == unbroken(media, tmp_path)


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 kB, and a function that changes how it is mounted."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(where)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, stderr=-3).returncode:
        pytest.skip("no right to mount a small disk here")

    def change(option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(where)], check=True)

    yield where, change
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_and_then_a_closed_disk_stop_the_run_and_damage_nothing(tmp_path, disk):
    where, change = disk
    media = voices(tmp_path / "m")
    (where / "ballast").write_bytes(bytes(28_000))
    is_one_line(command(media, where / "c"), "no space left on device")
    kept = contents(where / "c")
    assert not [name for name in kept if name.endswith(".tmp")]
    assert all(read_item(where / "c", Path(name).stem) for name in kept if "tracks" in name)
    change("size=2m")
    assert command(media, where / "c").returncode == 0
    whole = unbroken(media, tmp_path)
    assert contents(where / "c") == whole
    change("ro")
    is_one_line(command(media, where / "c"), "read-only file system")
    with pytest.raises(StorageError, match="read-only file system"):
        extract_corpus(load_paths([media]).clips, where / "new", sensors=["prosody"], workers=0)
    assert contents(where / "c") == whole


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, code):
    clip = Clip("a", encode(tmp_path / "a.wav", None, np.ones(8000, np.float32), audio="pcm_s16le"))

    def refused(*_args, **_options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(StorageError, match="cannot write .*run the same command again"):
        extract_corpus([clip], tmp_path / "c", sensors=["prosody"], workers=0)
    assert contents(tmp_path / "c") == {}
    monkeypatch.undo()
    extract_corpus([clip], tmp_path / "c", sensors=["prosody"], workers=0)
    monkeypatch.setattr("filelock.FileLock.acquire", refused)
    with pytest.raises(StorageError, match=f"cannot write .*lock: {os.strerror(code).lower()}"):
        extract_corpus([clip], tmp_path / "c", sensors=["prosody"], workers=0)


def test_a_file_where_the_corpus_should_be_is_one_line(tmp_path):
    clip = Clip("a", encode(tmp_path / "a.wav", None, np.ones(8000, np.float32), audio="pcm_s16le"))
    with pytest.raises(StorageError, match="not a directory"):
        extract_corpus([clip], tmp_path / "a.wav", sensors=["prosody"], workers=0)


def test_damaged_items_are_read_again(tmp_path):
    clip = Clip("a", encode(tmp_path / "a.wav", None, np.ones(8000, np.float32), audio="pcm_s16le"))
    clip_b = Clip("b", encode(tmp_path / "b.wav", None, np.sin(np.arange(8000, dtype="f4") / 20),
                              audio="pcm_s16le"))  # fmt: skip
    corpus = tmp_path / "c"
    extract_corpus([clip, clip_b], corpus, sensors=["prosody"], workers=0)
    whole = contents(corpus)
    (_, path) = sorted((len(data), corpus / n) for n, data in whole.items() if "tracks" in n)[-1]
    rng = np.random.default_rng(5)
    data = path.read_bytes()
    header = int.from_bytes(data[:8], "little")
    for n in range(60):
        hurt = bytearray(data)
        hurt[int(rng.integers(0, 8 + header))] ^= 1 << int(rng.integers(8))
        path.write_bytes(hurt if n % 2 else data[: int(rng.integers(len(data)))])
        read_item(corpus, path.stem)  # whatever it says, it does not raise
    path.write_bytes(data[:-1])
    again = extract_corpus([clip, clip_b], corpus, sensors=["prosody"], workers=0)
    assert (again.read, again.reused) == (1, 1) and contents(corpus) == whole


def test_a_damaged_index_says_what_to_do_and_that_helps(tmp_path):
    clip = Clip("a", encode(tmp_path / "a.wav", None, np.ones(8000, np.float32), audio="pcm_s16le"))
    missing = Clip("b", tmp_path / "absent.wav")
    given = [clip, missing]
    extract_corpus(given, tmp_path / "c", sensors=["prosody"], workers=0)
    whole = contents(tmp_path / "c")
    for name in ("records.jsonl", "failures.jsonl"):
        for hurt in (whole[name][:-20], b"\xff" + whole[name], b"[]\n", b"null\n"):
            (tmp_path / "c" / name).write_bytes(hurt)
            with pytest.raises(store.TextualizeError, match=f"{name}.* is damaged .*remove"):
                extract_corpus(given, tmp_path / "c", sensors=["prosody"], workers=0)
        (tmp_path / "c" / name).unlink()
        extract_corpus(given, tmp_path / "c", sensors=["prosody"], workers=0)
        assert contents(tmp_path / "c")["records.jsonl"] == whole["records.jsonl"]
