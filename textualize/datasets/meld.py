"""MELD: utterances of a TV series with speaker, emotion and dialogue.

    Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,…
    1,"Oh, that is so nice of you!",Anna,joy,positive,0,0,4,7,"00:16:16,059","00:16:21,731"

Files `{train,dev,test}_sent_emo.csv`; a clip's video is `{split}/dia{D}_utt{U}.mp4` where that file
exists, otherwise the clip is text only. Rows are identified by split, dialogue and utterance, never
by text: 1291 training rows repeat another row's text. MELD is dialogue-disjoint, not speaker- or
episode-independent. Clips whose video or times are known or found to be wrong keep their text; what
becomes of their video is the option `bad`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from textualize.datasets import Listing
from textualize.datasets.typography import Typography, read_text
from textualize.errors import TextualizeError
from textualize.labels import CODINGS, LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip, Span, Utterance

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
MAX_TURNS = 10  # earlier turns kept as context; recipes choose how many of them are read
FRAME_S = 1 / 24  # shorter than a frame: nothing was cut
LONGEST_S = 30.0  # an utterance that is said to take longer is a wrong cut

Bad = Literal["text-only", "cut", "drop"]
_COLUMNS = (
    "Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime",
)  # fmt: skip
_TIME = re.compile(r"(\d+):(\d+):(\d+(?:[.,]\d+)?)")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known to be wrong with a row's video, and who says so."""

    problem: str
    source: str


# Numbers are issues of declare-lab/MELD; "annotation" is the row's own StartTime and EndTime.
KNOWN_BAD: Mapping[tuple[str, int, int], Known] = {
    ("train", 125, 3): Known("the published video is damaged", "issues 39 and 52"),
    ("train", 309, 0): Known("cut at the wrong place, 41 s", "issue 20"),
    ("dev", 110, 7): Known("no video was published", "issues 22 and 27"),
    ("test", 38, 4): Known("cut at the wrong place, 5 min", "issue 20"),
    ("test", 155, 3): Known("starts and ends at the same time", "annotation"),
    ("test", 220, 0): Known("cut at the wrong place, 4 min", "issue 20"),
}


def load(root: Path, *, bad: Bad = "text-only") -> Listing:
    """Return the utterances of every split file under `root`.

    Args:
        root: the folder of the CSV files and of the folders of clips.
        bad: what becomes of a row whose video is known, or by its own times found, to be bad.
            "text-only" keeps the row without its video; "drop" leaves the row out (it stays
            context of later ones); "cut" is "text-only" for these rows and reads no other video
            further than its row's times, since about 200 videos run on (issue 9).

    Raises:
        TextualizeError: no split file there, or one without MELD's columns.
    """
    if bad not in get_args(Bad):
        raise TextualizeError(f"bad should be {' or '.join(get_args(Bad))}; given '{bad}'")
    reading = _Reading(bad)
    for name in SPLITS:
        path = root / f"{name}_sent_emo.csv"
        if path.is_file():
            reading.read(path, root / name, name)
    if not reading.clips and not reading.failures:
        raise TextualizeError(f"no MELD split file (train_sent_emo.csv, …) in {root}")
    return Listing(
        tuple(reading.clips), LABEL_SETS["meld7"], tuple(reading.failures), reading.notes()
    )


def seconds(time: str) -> float:
    """Return a time of the annotation in seconds.

    >>> seconds("00:16:21,731")
    981.731

    Raises ValueError for another form.
    """
    found = _TIME.fullmatch(time.strip())
    if not found:
        raise ValueError(f"time should be hh:mm:ss,mmm; given '{time}'")
    hours, minutes, rest = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(rest.replace(",", "."))


def bad_times(row: Mapping[str, str]) -> str:
    """Return what is wrong with a row's own times, "" for nothing.

    >>> bad_times({"StartTime": "00:00:01,000", "EndTime": "00:00:42,040"})
    'lasts 41.04 s by its own times'
    """
    try:
        length = seconds(row["EndTime"]) - seconds(row["StartTime"])
    except ValueError as error:
        return str(error)
    return "" if FRAME_S <= length <= LONGEST_S else f"lasts {length:.2f} s by its own times"


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that could be read. `about` is split, dialogue and utterance; `bad` is why not."""

    about: tuple[str, int, int]
    label: str
    speaker: str
    text: str
    times: Span
    bad: str

    @property
    def name(self) -> str:
        split, dialogue, utterance = self.about
        return f"{SPLITS[split]}_dia{dialogue}_utt{utterance}"


class _Reading:
    """The clips of the split files read so far, and what was noticed on the way."""

    def __init__(self, bad: Bad) -> None:
        self.clips: list[Clip] = []
        self.failures: list[Failure] = []
        self._policy = bad
        self._typography, self._speakers = Typography(), Typography()
        self._said: list[str] = []
        self._bad: list[str] = []
        self._videos = 0

    def read(self, path: Path, media: Path, split: str) -> None:
        """Add the rows of one file, dialogue by dialogue in the order they were said."""
        text, note = read_text(path)
        self._said += [note] if note else []
        table = csv.DictReader(io.StringIO(text, newline=""))
        missing = [c for c in _COLUMNS if c not in (table.fieldnames or ())]
        if missing:
            raise TextualizeError(
                f"{path} has no column {', '.join(missing)}: give MELD's own file, with commas"
            )
        rows: dict[tuple[str, int, int], _Row] = {}
        for number, cells in enumerate(_lines(table, path), 2):
            try:
                row = self._row(split, cells)
                if row.about in rows:
                    raise TextualizeError(f"{row.name} is given twice")
                rows[row.about] = row
            except (TextualizeError, ValueError, TypeError, AttributeError) as error:
                short = isinstance(error, TypeError | AttributeError)  # a cell is None
                reason = "the row is cut off" if short else error
                at = f"{path.name}: row {number}: {reason}"
                self.failures.append(failure(f"{SPLITS[split]}_row{number}", "meld", at))
        self._dialogues([rows[about] for about in sorted(rows)], media)
        self._unlisted(media, {_file(row) for row in rows.values()})

    def _row(self, split: str, cells: Mapping[str, str]) -> _Row:
        about = (split, int(cells["Dialogue_ID"]), int(cells["Utterance_ID"]))
        label = CODINGS["meld"].label(cells["Emotion"].lower())
        text = self._typography.plain(cells["Utterance"])
        speaker = self._speakers.plain(cells["Speaker"])
        known, wrong = KNOWN_BAD.get(about), bad_times(cells)
        if known:
            wrong = f"{known.problem} ({known.source})"
        times = Span(0.0, 0.0) if wrong else Span(*(seconds(cells[t]) for t in _COLUMNS[-2:]))
        return _Row(about, label, speaker, text, times, wrong)

    def _dialogues(self, rows: list[_Row], media: Path) -> None:
        turns: dict[int, list[Utterance]] = {}
        for row in rows:
            earlier = turns.setdefault(row.about[1], [])
            if row.bad:
                self._bad.append(f"{row.name}: {row.bad}")
            if not (row.bad and self._policy == "drop"):
                self._add(row, media, tuple(earlier[-MAX_TURNS:]))
            earlier.append(Utterance(Span(0.0, 0.0), row.text, speaker=row.speaker, source="meld"))

    def _add(self, row: _Row, media: Path, context: tuple[Utterance, ...]) -> None:
        split, dialogue, _ = row.about
        video = media / _file(row)
        used = video if not row.bad and video.is_file() else None
        self._videos += used is not None
        cut = Span(0.0, row.times.duration) if used and self._policy == "cut" else None
        self.clips.append(
            Clip(
                id=row.name,
                video=used,
                span=cut,
                subject=row.speaker,
                group=f"{SPLITS[split]}_dia{dialogue}",
                context=context,
                label=row.label,
                split=SPLITS[split],
                transcript=row.text,
            )
        )

    def _unlisted(self, media: Path, listed: set[str]) -> None:
        """Note the videos that have no row: they are in the published archives too."""
        extra = sorted({p.name for p in media.glob("*.mp4")} - listed)
        if extra:
            self._said.append(
                f"{len(extra)} videos in {media.name}/ have no row and are not used (e.g. "
                f"{extra[0]})"
            )

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know of the rows."""
        done = {
            "text-only": "their text is kept, their video is not used",
            "cut": "their text is kept, their video is not used; other videos end by their times",
            "drop": "left out",
        }[self._policy]
        said = [*self._said, *self._typography.notes("utterances")]
        said += self._speakers.notes("speaker names")
        if self._videos < len(self.clips):
            said.append(f"{len(self.clips) - self._videos} of {len(self.clips)} clips: text only")
        if self._bad:
            said.append(f"{len(self._bad)} rows have a bad video or bad times, {done}:")
            said += [f"  {line}" for line in self._bad]
        return tuple(said)


def _lines(table: Iterable[dict[str, str]], path: Path) -> Iterator[dict[str, str]]:
    try:
        yield from table
    except csv.Error as error:
        raise TextualizeError(f"{path} is no CSV file: {error}") from None


def _file(row: _Row) -> str:
    return f"dia{row.about[1]}_utt{row.about[2]}.mp4"
