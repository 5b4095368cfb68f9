"""Disks that are full or closed and files damaged on them: stopped in one line, nothing lost."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from textualize.datasets.folder import load_paths
from textualize.errors import TextualizeError
from textualize.extract.pipeline import extract_corpus
from textualize.extract.timings import TIMINGS
from textualize.files import StorageError
from textualize.store import Corpus, read_item
from textualize.types import Clip

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves it out

from damage import encode  # noqa: E402


def voices(folder: Path) -> Path:
    """Four short recordings and, last, a long one, whose item does not fit into 12 kB."""
    folder.mkdir()
    for n, seconds in enumerate((1, 1, 1, 1, 6)):
        sound = np.sin(np.arange(16000 * seconds) * 2 * np.pi * (100 + n) / 16000).astype("f4") / 2
        encode(folder / f"{n}.wav", None, sound, audio="pcm_s16le")
    return folder


def contents(corpus: Path) -> dict[str, bytes]:
    """Every file of a corpus by name, but for timings, which are by the clock."""
    found = [p for p in corpus.rglob("*") if p.is_file() and p.name != TIMINGS]
    return {str(p.relative_to(corpus)): p.read_bytes() for p in found}


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
            with pytest.raises(TextualizeError, match=f"{name}.* is damaged .*remove"):
                extract_corpus(given, tmp_path / "c", sensors=["prosody"], workers=0)
        (tmp_path / "c" / name).unlink()
        extract_corpus(given, tmp_path / "c", sensors=["prosody"], workers=0)
        assert contents(tmp_path / "c")["records.jsonl"] == whole["records.jsonl"]
