"""A folder of media files, one clip a file, unlabelled.

A transcript beside a file (`talk.srt`, `.vtt`, `.json`, `.txt` next to `talk.mp4`) belongs to it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from textualize.datasets import Listing
from textualize.errors import TextualizeError
from textualize.store import Failure, failure
from textualize.types import Clip

VIDEO = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".ts"}
AUDIO = {".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".wma"}
IMAGE = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
MEDIA = VIDEO | AUDIO | IMAGE
TRANSCRIPTS = (".srt", ".vtt", ".json", ".txt")


def load(root: Path) -> Listing:
    """Return one clip per media file under a folder."""
    return load_paths([root])


def load_paths(paths: Iterable[Path]) -> Listing:
    """Return one clip per media file among files and folders (searched recursively).

    Raises:
        TextualizeError: a path does not exist, or there is no media file at all.
    """
    given = list(paths)
    files: list[tuple[Path, str]] = []
    failures: list[Failure] = []
    for path in given:
        if path.is_dir():
            found = sorted(_media_under(path, failures))
            files.extend((p, p.relative_to(path).with_suffix("").as_posix()) for p in found)
        elif path.is_file():
            files.append((path, path.stem))
        else:
            raise TextualizeError(f"no file or folder at {path}")
    if not files:
        raise TextualizeError(f"no media files in {', '.join(str(p) for p in given)}")
    count = Counter(name for _, name in files)
    clips, used = [], Counter[str]()
    for path, name in files:
        clip_id = name if count[name] == 1 else f"{name}{path.suffix}"
        used[clip_id] += 1
        if used[clip_id] > 1:
            clip_id = f"{clip_id}-{used[clip_id]}"
        clips.append(Clip(id=clip_id, video=path, sidecars=_sidecars(path)))
    return Listing(tuple(clips), None, tuple(failures))


def _media_under(folder: Path, failures: list[Failure]) -> Iterator[Path]:
    """Yield what is called like a medium, dangling links and pipes too: reading says what is wrong.

    A folder that cannot be listed is a failure.
    """

    def unlisted(error: OSError) -> None:
        why = (error.strerror or str(error)).lower()
        failures.append(failure(str(error.filename), "folder", f"cannot list the folder: {why}"))

    for where, _, names in os.walk(folder, onerror=unlisted):
        for name in names:
            if Path(name).suffix.lower() in MEDIA:
                yield Path(where) / name


def _sidecars(path: Path) -> dict[str, str]:
    for suffix in TRANSCRIPTS:
        beside = path.with_suffix(suffix)
        if beside.is_file():
            return {"transcript": str(beside)}
    return {}
