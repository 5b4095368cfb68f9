"""Bytes from the network: one file over https, or files of a hub repository.

Both go on where they were cut off, say in one line why they cannot, and give up within seconds
where there is no network.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, getproxies, urlopen

from textualize.errors import TextualizeError, missing_package
from textualize.files import file_digest

REACH_S = 4.0  # a name or a host that has not answered by then is not there
STALL_S = 20.0  # a download that has been silent so long has stopped
_BLOCK = 1 << 20

Progress = Callable[[int, int], None]  # bytes there, bytes in all (0: unknown)


class NoNetworkError(TextualizeError):
    """There is no network, or none is wanted; the next download would fail the same way."""


def hub_address() -> str:
    """Return the address of the hub that is asked."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def check_reachable(address: str) -> None:
    """Raise NoNetworkError within seconds when the host of an address does not answer.

    Behind a proxy only the proxy can tell, so nothing is tried.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise NoNetworkError("HF_HUB_OFFLINE=1 forbids downloads: unset it to fetch")
    parts = urlsplit(address)
    if parts.scheme in getproxies():
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    reached = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname or "", port), timeout=REACH_S).close()
        except OSError:
            return
        reached.set()

    # in a thread, because looking up a name knows no timeout
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(REACH_S)
    if not reached.is_set():
        raise NoNetworkError(
            f"no connection to {parts.hostname}: fetch where there is a network and copy the cache"
        )


def from_address(address: str, target: Path, digest: str, progress: Progress) -> None:
    """Download one file to `target`, going on from `target.part` where there is one.

    The file appears only when it is whole and its sha256 is `digest`.

    Raises:
        TextualizeError: cut off (the part is kept), refused, or the content is another one (the
            part is removed).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    if not (part.is_file() and file_digest(part) == digest):  # all there, only not yet checked
        _append(address, part, progress)
    found = file_digest(part)
    if found != digest:
        part.unlink()
        raise TextualizeError(
            f"{address} gave another file than the one known (sha256 {found[:12]}, expected "
            f"{digest[:12]}); it was removed: try again, or ask whoever runs your network"
        )
    part.replace(target)


def _append(address: str, part: Path, progress: Progress) -> None:
    there = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={there}-"} if there else {}
    try:
        with cast(
            HTTPResponse, urlopen(Request(address, headers=headers), timeout=STALL_S)
        ) as answer:
            there = there if answer.status == 206 else 0
            total = there + int(answer.headers.get("Content-Length") or 0)
            with part.open("ab" if there else "wb") as out:
                while block := answer.read(_BLOCK):
                    out.write(block)
                    there += len(block)
                    progress(there, total)
    except HTTPError as error:
        if error.code == 416:  # the part is longer than the file
            part.unlink()
            _append(address, part, progress)
            return
        raise TextualizeError(f"{address} answers {error.code} {error.reason}") from None
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise TextualizeError(
            f"{address} stopped after {there} bytes ({reason}): run the same command to go on"
        ) from None
    if there < total:
        raise TextualizeError(
            f"{address} stopped after {there} of {total} bytes: run the same command to go on"
        )


def from_hub(
    repository: str, revision: str, files: Iterable[str], cache: Path, *, quiet: bool
) -> Path:
    """Download files of a repository into a hub cache and return the snapshot's folder.

    `files` are names or patterns; `revision` "" means what the hub calls main today.

    Raises:
        TextualizeError: gated, unknown, or cut off (what arrived is kept).
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
        from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars
    except ImportError:
        raise missing_package("textualize fetch", "huggingface-hub", "extract") from None
    (disable_progress_bars if quiet else enable_progress_bars)()
    page = f"{hub_address()}/{repository}"
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            cache_dir=cache,
            allow_patterns=list(files),
            ignore_patterns=["*/*"],  # other formats of the same weights
            etag_timeout=STALL_S,
        )
    except GatedRepoError:
        raise TextualizeError(
            f"{repository} is gated: accept its licence at {page}, then `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise TextualizeError(f"{page} has no revision {revision}") from None
    except RepositoryNotFoundError:
        raise TextualizeError(f"{page} is not there, or needs a login: `hf auth login`") from None
    except Exception as error:  # the hub's client lets errors of its HTTP library through
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise TextualizeError(f"{page} stopped ({reason}): run the same command to go on") from None
    return Path(folder)
