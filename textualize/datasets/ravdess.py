"""RAVDESS speech: acted clips of two sentences, eight emotions, 24 actors.

    audio/Actor_01/03-01-05-02-01-01-01.flac
          modality-channel-EMOTION-INTENSITY-STATEMENT-repetition-ACTOR

Odd actors are male, even female. Action units, where the folder has them, are OpenFace clip means
(`clip_au35*.csv`, one row per take, key `01-01-05-…`) or per-frame CSVs (`au_frames/Actor_01/…`);
the two come from different OpenFace modes, so only one of them is used: the table if it is there.
"""

from __future__ import annotations

import csv
from pathlib import Path

from textualize.datasets import Listing
from textualize.datasets.folder import AUDIO, VIDEO
from textualize.errors import TextualizeError
from textualize.labels import LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip

EMOTIONS = dict(enumerate(LABEL_SETS["ravdess8"].labels, start=1))
STATEMENTS = {1: "Kids are talking by the door", 2: "Dogs are sitting by the door"}


def load(root: Path) -> Listing:
    """Return the takes under `root`, with subject = group = actor.

    Raises:
        TextualizeError: no take there.
    """
    tables = _tables(root)
    clips: list[Clip] = []
    failures: list[Failure] = []
    for path in sorted(root.rglob("Actor_*/*")):
        if path.suffix.lower() not in AUDIO | VIDEO:
            continue
        try:
            clips.append(_clip(path, root, tables))
        except (ValueError, KeyError):
            failures.append(failure(path.stem, "ravdess", f"{path.name} is not a RAVDESS name"))
    if not clips:
        raise TextualizeError(f"no RAVDESS takes (Actor_NN/03-01-….flac) under {root}")
    return Listing(tuple(clips), LABEL_SETS["ravdess8"], tuple(failures))


def _tables(root: Path) -> dict[str, str]:
    """Return take -> "table.csv#take" over all clip tables under root."""
    rows: dict[str, str] = {}
    for table in sorted(root.glob("clip_au35*.csv")):
        with table.open(encoding="utf-8", newline="") as stream:
            for row in csv.reader(stream):
                rows[row[0]] = f"{table}#{row[0]}"
    return rows


def _clip(path: Path, root: Path, tables: dict[str, str]) -> Clip:
    fields = [int(x) for x in path.stem.split("-")]
    _, _, emotion, _, statement, _, actor = fields
    take = "01-01-" + path.stem[6:]
    sidecars = {}
    frames = root / "au_frames" / f"Actor_{actor:02d}" / f"{take}.csv"
    if take in tables:
        sidecars["openface"] = tables[take]
    elif frames.is_file():
        sidecars["openface"] = str(frames)
    return Clip(
        id=path.stem,
        video=path,
        subject=f"actor{actor:02d}",
        group=f"actor{actor:02d}",
        label=EMOTIONS[emotion],
        transcript=STATEMENTS[statement],
        sidecars=sidecars,
    )
