"""An uploaded clip: taken into a private folder, read by a process of its own, deleted.

The name it is sent under is looked at for its ending alone; what decodes foreign media is a child
that may crash or stall without harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import UploadFile

from textualize.errors import TextualizeError
from textualize.store import Corpus
from textualize.types import Record

ENDINGS = (
    ".mp4 .mov .mkv .webm .avi .m4v .mpg .mpeg .wav .mp3 .flac .ogg .m4a .jpg .jpeg .png .bmp"
).split()
READ_S = 300.0
_NAME = re.compile(r"[^/\\\x00-\x1f]{1,255}")
_PIECE = 1 << 20


class UploadError(TextualizeError):
    """The upload is not a clip that can be read."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """Reads uploaded clips with these sensors, so many at a time."""

    sensors: str
    turns: asyncio.Semaphore

    async def record(self, upload: UploadFile) -> Record:
        """Return what was extracted of a clip; nothing of it stays on the disk.

        Raises:
            UploadError: its name, kind or content cannot be used; it took too long.
        """
        ending = checked_ending(upload.filename or "")
        async with self.turns:
            folder = Path(tempfile.mkdtemp(prefix="textualize-upload-"))  # mode 0700
            try:
                clip = folder / f"clip{ending}"
                with clip.open("xb") as stream:
                    while piece := await upload.read(_PIECE):
                        await asyncio.to_thread(stream.write, piece)
                if clip.stat().st_size == 0:
                    raise UploadError("the uploaded clip is empty")
                return await self._read(clip, folder / "corpus")
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _read(self, clip: Path, corpus: Path) -> Record:
        command = [sys.executable, "-m", "textualize", "extract", str(clip), "-o", str(corpus)]
        command += ["--sensors", self.sensors, "--workers", "0", "--json"]
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={k: v for k, v in os.environ.items() if k != "TEXTUALIZE_API_KEY"},
        )
        try:
            told, said = await asyncio.wait_for(child.communicate(), READ_S)
        except TimeoutError:
            raise UploadError(f"the clip took longer than {READ_S:g} s to read") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        records = Corpus(corpus).records() if (corpus / "corpus.json").is_file() else []
        if not records:
            reason = _reason(told, said).replace(str(clip), "it").replace(str(clip.parent), "")
            raise UploadError(f"the clip cannot be read: {reason}")
        return records[0]


def checked_ending(name: str) -> str:
    """Return the ending of an upload's name.

    >>> checked_ending("me.MP4")
    '.mp4'

    Raises:
        UploadError: the name holds a path, or the ending is of no media file.
    """
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise UploadError("the upload's name holds a path or is not a name: send a plain one")
    ending = Path(name).suffix.lower()
    if ending not in ENDINGS:
        raise UploadError(f"uploads ending in '{ending[:20]}' are not read: {' '.join(ENDINGS)}")
    return ending


def _reason(told: bytes, said: bytes) -> str:
    with contextlib.suppress(ValueError, LookupError, TypeError):
        return str(json.loads(told)["failures"][0]["error"])[:300]
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("textualize: ")[:300] if lines else "the reader crashed"
