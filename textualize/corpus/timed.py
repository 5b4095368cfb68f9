"""What was said, seen and answered over time: WebVTT, ELAN's tab-delimited text, EAF, rows as CSV.

Tiers are words, face, prosody (and what other senses have cues) and prediction. What holds for the
whole clip lasts as long as anything is known of it. ELAN has no annotations of one tier that
overlap: these go to a second tier of the name. Times are seconds from the start of the media file.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from textualize.corpus.captions import clock, file_name
from textualize.corpus.examples import Example, Plan
from textualize.corpus.writing import Options
from textualize.errors import missing_package

WORDS, PREDICTION = "words", "prediction"
HEAD = ("Tier", "Participant", "Begin Time - ss.msec", "End Time - ss.msec",
        "Duration - ss.msec", "Annotation")  # fmt: skip
_DATE = "1970-01-01T00:00:00+00:00"  # the same corpus gives the same bytes


class Note(NamedTuple):
    """One annotation: its tier, whom it is about ("" where not said), when and what."""

    tier: str
    who: str
    start: float
    end: float
    value: str


def notes_of(example: Example) -> tuple[list[Note], int]:
    """Return a clip's annotations in the order of time, and how many have no known end."""
    who = example.subject or ""
    found: list[tuple[str, str, float | None, float | None, str]]
    found = [(WORDS, speaker or who, a, b, text) for a, b, speaker, text in example.utterances]
    for cue in example.cues:
        if cue["modality"] != "speech":  # said already, word for word
            found.append((cue["modality"], who, cue["start"], cue["end"], cue["text"]))
    if example.prediction is not None:
        found.append((PREDICTION, who, None, None, example.prediction))
    first, last = _extent(example)
    timed, lost = [], 0
    for tier, about, start, end, value in found:
        begun, ended = first if start is None else start, last if end is None else end
        if ended is None or not 0 <= begun < ended < float("inf"):
            lost += 1
        elif value:
            timed.append(Note(tier, about, begun, ended, " ".join(value.split())))
    return sorted(timed, key=lambda n: (n.start, n.end, n.tier, n.value)), lost


def _extent(example: Example) -> tuple[float, float | None]:
    """When a clip begins, and its end or the last moment anything is known of."""
    ends = [c["end"] for c in example.cues if c["end"] is not None]
    ends += [end for _, end, _, _ in example.utterances]
    last = max(ends, default=None) if example.end is None else example.end
    return example.start or 0.0, last


def lanes(notes: Iterable[Note]) -> list[Note]:
    """Return annotations none of which overlap within a tier, but in "face", "face 2".

    >>> [n.tier for n in lanes([Note("face", "", 0, 2, "a"), Note("face", "", 1, 3, "b")])]
    ['face', 'face 2']
    """
    until: dict[str, list[float]] = {}
    found = []
    for note in sorted(notes, key=lambda n: (n.start, n.end)):
        ends = until.setdefault(note.tier, [])
        lane = next((i for i, end in enumerate(ends) if end <= note.start), len(ends))
        ends[lane : lane + 1] = [note.end]
        found.append(note._replace(tier=f"{note.tier} {lane + 1}" if lane else note.tier))
    return found


class _Timed(ABC):
    """A file a clip, in a folder named like the format."""

    name = ending = ""

    def __init__(self, folder: Path, what: Plan, options: Options) -> None:
        self.notes: list[str] = []
        self._lost = self._empty = 0
        self._folder = folder / self.name
        self._folder.mkdir()

    def write(self, example: Example) -> None:
        """Write a clip's annotations; no file where there are none."""
        found, lost = notes_of(example)
        self._lost += lost
        self._empty += not found
        if found:
            self._write(self._folder / f"{file_name(example.id)}.{self.ending}", found)

    @abstractmethod
    def _write(self, path: Path, notes: list[Note]) -> None:
        """Write a clip's annotations, at least one."""

    def close(self) -> None:
        """Say in `notes` what was left out."""
        told = [
            (self._empty, "clips have nothing to annotate"),
            (self._lost, "annotations of whole clips without a known end: left out"),
        ]
        self.notes += [f"{count} {what}" for count, what in told if count]


class Vtt(_Timed):
    """WebVTT: cues of all tiers, each under its tier's name."""

    name = ending = "vtt"

    def _write(self, path: Path, notes: list[Note]) -> None:
        blocks = ["WEBVTT\n"]
        for note in notes:
            times = " --> ".join(clock(t).replace(",", ".") for t in (note.start, note.end))
            said = escape(note.value, quote=False)
            who = escape(note.who, quote=False)
            voice = f"<v {who}>" if note.tier == WORDS and note.who else ""
            text = f"{voice}{said}" if note.tier == WORDS else f"<c.{note.tier}>{said}</c>"
            blocks.append(f"{note.tier}\n{times}\n{text}\n")
        path.write_text("\n".join(blocks), "utf-8", "backslashreplace", "\n")


class ElanText(_Timed):
    """ELAN's tab-delimited text, one annotation a row; `textualize corpus import` reads it back."""

    name, ending = "elan", "txt"

    def _write(self, path: Path, notes: list[Note]) -> None:
        rows = ["\t".join(HEAD)]
        for n in lanes(notes):
            times = (f"{t:.3f}" for t in (n.start, n.end, n.end - n.start))
            rows.append("\t".join((n.tier, " ".join(n.who.split()), *times, n.value)))
        path.write_text("\n".join(rows) + "\n", "utf-8", "backslashreplace", "\n")


class Eaf(_Timed):
    """ELAN's own files."""

    name = ending = "eaf"

    def __init__(self, folder: Path, what: Plan, options: Options) -> None:
        try:
            import pympi  # type: ignore[import-untyped] # noqa: F401
        except ModuleNotFoundError:
            raise missing_package("the eaf export", "pympi-ling", "elan") from None
        super().__init__(folder, what, options)

    def _write(self, path: Path, notes: list[Note]) -> None:
        from pympi.Elan import Eaf as Document  # type: ignore[import-untyped]

        document = Document(author="textualize")
        document.adocument["DATE"] = _DATE
        document.remove_tier("default")
        for note in lanes(notes):
            who = _plain(note.who)
            tier = f"{note.tier}@{who}" if note.tier.split()[0] == WORDS and who else note.tier
            if tier not in document.tiers:
                document.add_tier(tier, part=who or None)
            start, end = round(note.start * 1000), round(note.end * 1000)
            document.add_annotation(tier, start, max(end, start + 1), _plain(note.value))
        document.to_file(str(path))


def _plain(text: str) -> str:
    """Return a text as XML can hold it."""
    told = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else " " for c in told)


class Frames:
    """One CSV a clip and track, one line a row of the track; an empty cell was not seen."""

    def __init__(self, folder: Path, what: Plan, options: Options) -> None:
        self.notes: list[str] = []
        self._without = 0
        self._folder = folder / "frames"
        self._folder.mkdir()

    def write(self, example: Example) -> None:
        """Write a clip's tracks."""
        self._without += not example.tracks
        for name, track in sorted(example.tracks.items()):
            path = self._folder / f"{file_name(example.id)}.{file_name(name)}.csv"
            with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(("seconds", *track.names))
                times = track.start + np.arange(len(track.values)) / float(track.rate_hz)
                for second, row in zip(times.tolist(), track.values.tolist(), strict=True):
                    cells = (f"{x:.6g}" if np.isfinite(x) else "" for x in row)
                    table.writerow((f"{second:.4f}", *cells))

    def close(self) -> None:
        """Say in `notes` what was left out."""
        if self._without:
            self.notes.append(f"{self._without} clips have no tracks")
