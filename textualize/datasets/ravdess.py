"""RAVDESS: acted clips of two sentences, spoken or sung, eight emotions, 24 actors.

    Actor_01/03-01-05-02-01-01-01.flac
      MODALITY-CHANNEL-EMOTION-INTENSITY-STATEMENT-repetition-ACTOR

Odd actors are male, even female. A take is published up to three times: with picture and sound
(01), picture only (02), sound only (03); one of them is a clip, or a take would be counted thrice.
Action units, where the folder has them, are OpenFace clip means (`clip_au35*.csv`, one row a take,
key `01-01-05-…`) or per-frame CSVs (`au_frames/Actor_01/01-01-05-….csv`). The two come from
different OpenFace modes and agree on few units, so that one of them is taken for all clips.
openSMILE's functionals (`clip_egemaps*.csv`, the same keys) are brought on request.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textualize.datasets import Listing
from textualize.datasets.folder import AUDIO, VIDEO
from textualize.errors import TextualizeError
from textualize.labels import CODINGS, LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip

STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}

Aus = Literal["clip", "frames", "none"]
Channel = Literal["speech", "song", "both"]
Variant = Literal["best", "audio-video", "video", "audio", "all"]
_CHANNELS = {"01": "speech", "02": "song"}
_VARIANTS = {"01": "audio-video", "03": "audio", "02": "video"}  # the best first
_FIELDS = 7


def load(
    root: Path,
    *,
    aus: Aus = "clip",
    egemaps: bool = False,
    channel: Channel = "speech",
    variant: Variant = "best",
) -> Listing:
    """Return the takes under `root`, with subject = group = actor.

    Args:
        root: a folder with folders Actor_NN, at any depth.
        aus: which action units a clip brings: means over the clip, or one row a frame.
        egemaps: whether a clip brings openSMILE's functionals (research use only).
        channel: spoken or sung takes.
        variant: which file of a take is the clip; "best" is the first there is of picture with
            sound, sound, picture; "all" makes each file a clip.

    Raises:
        TextualizeError: no such take there.
    """
    takes, failures = _takes(root)
    spoken = [t for t in takes if channel in ("both", _CHANNELS[t.channel])]
    chosen = _variants(spoken, variant)
    if not chosen:
        raise TextualizeError(
            f"no RAVDESS takes (Actor_NN/03-01-….flac) under {root}"
            + (f" of channel={channel}, variant={variant}; {len(takes)} others" if takes else "")
        )
    brought: dict[str, dict[str, str]] = {}
    if aus != "none":
        brought["openface"] = _tables(root, "clip_au35*.csv") if aus == "clip" else _frames(root)
    if egemaps:
        brought["opensmile"] = _tables(root, "clip_egemaps*.csv")
    clips = tuple(_clip(take, brought) for take in chosen)
    notes = []
    if len(spoken) < len(takes):
        notes.append(f"{len(takes) - len(spoken)} files are not channel={channel}: left out")
    if len(chosen) < len(spoken):
        notes.append(f"{len(spoken) - len(chosen)} files left out by variant={variant}")
    for sensor, what in (("openface", f"action units of aus={aus}"), ("opensmile", "egemaps")):
        without = sum(sensor not in c.sidecars for c in clips)
        if without and sensor in brought:
            notes.append(f"{without} of {len(clips)} clips have no {what}")
    return Listing(clips, LABEL_SETS["ravdess8"], tuple(failures), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Take:
    path: Path
    fields: tuple[str, ...]
    label: str
    transcript: str

    @property
    def channel(self) -> str:
        return self.fields[1]

    @property
    def name(self) -> str:
        """The take's name, the same for its three variants: that of picture with sound."""
        return "-".join(("01", *self.fields[1:]))


def _takes(root: Path) -> tuple[list[_Take], list[Failure]]:
    takes: dict[str, _Take] = {}
    failures: list[Failure] = []
    for path in sorted(root.rglob("Actor_*/*")):
        if path.suffix.lower() not in AUDIO | VIDEO:
            continue
        try:
            take = _take(path)
            if path.stem in takes:
                raise TextualizeError(f"{path.stem} is there twice, see {takes[path.stem].path}")
            takes[path.stem] = take
        except TextualizeError as error:
            failures.append(failure(path.stem, "ravdess", f"{path}: {error}"))
    return list(takes.values()), failures


def _take(path: Path) -> _Take:
    fields = tuple(path.stem.split("-"))
    if (
        len(fields) != _FIELDS
        or not all(len(f) == 2 and f.isdigit() for f in fields)
        or fields[0] not in _VARIANTS
        or fields[1] not in _CHANNELS
        or fields[4] not in STATEMENTS
    ):
        raise TextualizeError("not a RAVDESS name: 03-01-05-02-01-01-01 expected")
    return _Take(path, fields, CODINGS["ravdess"].label(fields[2]), STATEMENTS[fields[4]])


def _variants(takes: Sequence[_Take], variant: Variant) -> list[_Take]:
    if variant == "all":
        return list(takes)
    if variant != "best":
        return [t for t in takes if _VARIANTS[t.fields[0]] == variant]
    order = list(_VARIANTS)
    best: dict[str, _Take] = {}
    for take in sorted(takes, key=lambda t: order.index(t.fields[0])):
        best.setdefault(take.name, take)
    return sorted(best.values(), key=lambda t: t.path)


def _tables(root: Path, pattern: str) -> dict[str, str]:
    """Return take -> "table.csv#take" over the tables in root with one row a clip."""
    rows: dict[str, str] = {}
    for table in sorted(root.glob(pattern)):
        with table.open(encoding="utf-8-sig", newline="") as stream:
            for row in csv.reader(stream):
                if row:
                    rows[row[0]] = f"{table}#{row[0]}"
    return rows


def _frames(root: Path) -> dict[str, str]:
    """Return take -> its table with one row a frame."""
    return {path.stem: str(path) for path in sorted(root.glob("au_frames/Actor_*/*.csv"))}


def _clip(take: _Take, brought: Mapping[str, Mapping[str, str]]) -> Clip:
    actor = f"actor{take.fields[-1]}"
    return Clip(
        id=take.path.stem,
        video=take.path,
        subject=actor,
        group=actor,
        label=take.label,
        transcript=take.transcript,
        sidecars={s: files[take.name] for s, files in brought.items() if take.name in files},
    )
