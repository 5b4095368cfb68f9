"""Long clips in windows: one definition, by time, for training and for prediction.

A record is cut into windows, each a record of its own with the id "clip#000", "clip#001", …; a
clip's answer is the mean of its windows' probabilities. Without a window a clip is read whole.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from textualize.errors import TextualizeError
from textualize.extract.speech.transcripts import restrict
from textualize.files import read_yaml
from textualize.types import PROMPT_CUT, Prediction, Record, Span, Track

logger = logging.getLogger(__name__)

_CLOSE = 1e-6  # seconds or rows; what is nearer than this is the same moment
_NUMBERED = re.compile(r"#\d{3,}")


class Predicts(Protocol):
    """What answers for windows: a trained method."""

    labels: tuple[str, ...]

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Return one prediction per record, in the same order."""


@dataclass(frozen=True, slots=True)
class Window:
    """Windows of `length_s` seconds, a new one every `hop_s` seconds."""

    length_s: float
    hop_s: float

    def __post_init__(self) -> None:
        """Refuse windows that would leave a gap, or that have no length."""
        if not (0 < self.hop_s <= self.length_s < math.inf):
            raise TextualizeError(
                f"a window needs 0 < hop_s <= length_s; given length_s {self.length_s:g} and "
                f"hop_s {self.hop_s:g}"
            )


def windows(span: Span, window: Window | None = None) -> list[Span]:
    """Return the windows of a span in time order; their union is the span.

    All have the same length: the last one is moved back so that it ends with the span. A span not
    longer than a window, or no `window`, gives the span itself.

    >>> windows(Span(0.0, 5.0), Window(2.0, 2.0))
    [Span(start=0.0, end=2.0), Span(start=2.0, end=4.0), Span(start=3.0, end=5.0)]

    Raises TextualizeError for a span without an end.
    """
    if window is None:
        return [span]
    if not math.isfinite(span.start) or not math.isfinite(span.end):
        raise TextualizeError(f"windows need a span with an end; given {span.start}-{span.end}")
    room = span.duration - window.length_s
    if room <= _CLOSE:
        return [span]
    hops = math.ceil((room - _CLOSE) / window.hop_s)  # to the first window that reaches the end
    starts = [span.start + i * window.hop_s for i in range(hops)]
    ends = [start + window.length_s for start in starts]
    pairs = [*zip(starts, ends, strict=True), (span.end - window.length_s, span.end)]
    return [Span(start, end) for start, end in pairs]


def extent(record: Record) -> Span:
    """Return the clip's span; where that is open, what its tracks and utterances cover.

    The span is empty where nothing in the record has a length, as in a corpus of texts.
    """
    span = record.clip.span
    if span is not None and math.isfinite(span.end):
        return span
    ends = [t.start + len(t.values) / t.rate_hz for t in record.tracks.values()]
    ends += [u.span.end for u in record.utterances]
    starts = [t.start for t in record.tracks.values()] + [u.span.start for u in record.utterances]
    start = span.start if span else min(starts, default=0.0)
    return Span(start, max([e for e in ends if math.isfinite(e)], default=start))


def cut(record: Record, span: Span, clip_id: str | None = None) -> Record:
    """Return what a record holds within a span, as a record of that span.

    A track keeps the rows whose time is inside; where no row begins inside, the one that lasts
    into the span. Words are kept by the middle of their time; an utterance without word times is
    kept whole where its middle is, or where it covers the middle of the span. Label, subject and
    fold group stay; `clip_id` is the new id.
    """
    clip = replace(
        record.clip,
        id=clip_id or record.clip.id,
        span=span,
        group=record.clip.fold_group,  # which might otherwise become the window's own id
    )
    tracks = {name: _rows(track, span) for name, track in record.tracks.items()}
    said = restrict(record.utterances, span)
    return replace(record, clip=clip, tracks=tracks, utterances=said)


def _rows(track: Track, span: Span) -> Track:
    """Return the part of a track within a span; one row of NaN where it does not reach."""
    first = math.ceil((span.start - track.start) * track.rate_hz - _CLOSE)
    beyond = math.ceil((span.end - track.start) * track.rate_hz - _CLOSE)
    if beyond <= first:
        first, beyond = first - 1, first
    first, beyond = (min(max(i, 0), len(track.values)) for i in (first, beyond))
    if first < beyond:
        start = track.start + first / track.rate_hz
        return replace(track, values=track.values[first:beyond], start=start)
    unseen = np.full((1, *track.values.shape[1:]), np.nan, np.float32)
    if track.unit == "pixels":  # which know no NaN
        unseen = unseen[:0].astype(track.values.dtype)
    return replace(track, values=unseen, start=span.start)


def windowed(
    record: Record, window: Window | RowWindows | None, part: Literal["train", "test"] = "test"
) -> list[Record]:
    """Return the record's windows in time order; only windows in rows differ by `part`.

    Without a `window`, or where there is nothing to cut (`uncut` says why), that is the record
    itself.
    """
    if window is None or uncut(record, window):
        return [record]
    if isinstance(window, RowWindows):
        spans = window.spans(record.tracks["aus"], part)
    else:
        spans = windows(extent(record), window)
    return [cut(record, one, f"{record.clip.id}#{i:03d}") for i, one in enumerate(spans)]


def uncut(record: Record, window: Window | RowWindows) -> str:
    """Return why a record is not cut and so read whole; "" where it is."""
    if not extent(record):
        return "without length"
    track = record.tracks.get("aus")
    if isinstance(window, RowWindows) and (track is None or not len(track.values)):
        return "without face rows to count windows in"
    return ""


def uncut_notes(
    records: Sequence[Record], window: Window | RowWindows | None, part: str
) -> list[str]:
    """Return one line for each reason why some of the records, called `part`, are read whole."""
    why = Counter(uncut(record, window) for record in records) if window else Counter[str]()
    return [
        f"{part}: {n} of {len(records)} clips {reason}: each is read whole, as one example"
        for reason, n in why.items()
        if reason
    ]


def aggregate(predictions: Sequence[Prediction]) -> Prediction:
    """Return a clip's answer: the mean probability, or number, over its windows, each alike.

    Windows whose answer could not be read are left out of the mean; where none could be read the
    label is None. `text` says how many, and how many windows had their prompt cut.

    >>> one = Prediction("a#000", "m", "no", {"no": 0.9, "yes": 0.1})
    >>> two = Prediction("a#001", "m", "yes", {"no": 0.3, "yes": 0.7})
    >>> aggregate([one, two]).label
    'no'

    Raises:
        TextualizeError: no predictions, or of different clips, methods or labels.
    """
    about = {(clip_of(p.clip_id), p.method) for p in predictions}
    if len(about) != 1:
        raise TextualizeError(
            f"aggregate takes the windows of one clip by one method; given {len(about)} of them"
        )
    clip_id, method = about.pop()
    numbers = [p.label for p in predictions if isinstance(p.label, float)]
    if len(numbers) == len(predictions):
        return Prediction(clip_id, method, float(np.mean(numbers)))
    read = [p for p in predictions if p.scores]
    unread = len(predictions) - len(read)
    cut = sum(p.text.startswith(PROMPT_CUT) for p in read)
    counts = {"could not be read": unread, "had their prompt cut": cut}
    said = "; ".join(f"{n} of {len(predictions)} windows {what}" for what, n in counts.items() if n)
    if not read:
        return Prediction(clip_id, method, None, {}, said)
    labels = tuple(read[0].scores)
    if any(set(p.scores) != set(labels) for p in read):
        raise TextualizeError(f"the windows of '{clip_id}' are scored over different labels")
    mean = np.mean([[p.scores[label] for label in labels] for p in read], axis=0)
    scores = dict(zip(labels, mean.tolist(), strict=True))
    return Prediction(clip_id, method, labels[int(mean.argmax())], scores, said)


def clip_of(window_id: str) -> str:
    """Return the clip a window's id belongs to.

    >>> clip_of("talk#003"), clip_of("talk")
    ('talk', 'talk')
    """
    clip, mark, number = window_id.rpartition("#")
    return clip if clip and _NUMBERED.fullmatch(mark + number) else window_id


class ByWindow:
    """A method that reads a clip in windows and answers with the mean of their probabilities."""

    def __init__(self, method: Predicts, window: Window | RowWindows) -> None:
        """Take what answers for one window."""
        self.method, self.window = method, window
        self.labels = method.labels

    def predict(self, records: Sequence[Record]) -> list[Prediction]:
        """Return one prediction per record, in the same order; `text` says which was not cut."""
        for note in uncut_notes(records, self.window, "prediction"):
            logger.warning("%s", note)
        pieces = [windowed(record, self.window) for record in records]
        answers = iter(self.method.predict([piece for clip in pieces for piece in clip]))
        found = []
        for record, clip in zip(records, pieces, strict=True):
            answer = aggregate(list(islice(answers, len(clip))))
            reason = uncut(record, self.window)
            said = [answer.text, f"read whole: {reason}" if reason else ""]
            text = "; ".join(part for part in said if part)
            found.append(replace(answer, clip_id=record.clip.id, text=text))
        return found


def window_of_run(run: Path) -> Window | RowWindows | None:
    """Return the windows a run folder's method was trained with; None for whole clips."""
    recipe = run / "recipe.yaml"
    values = read_yaml(recipe) if recipe.is_file() else {}
    window, rows = values.get("window"), values.get("rows")
    return Window(**window) if window else PUBLISHED[rows] if rows else None


@dataclass(frozen=True, slots=True)
class RowWindows:
    """Windows counted in rows, unlike in training and test: kept to reproduce a publication.

    Training takes chunks of `chunk` rows; a test takes, for every row, the `before` rows before
    it and the `after` rows from it on.
    """

    chunk: int
    before: int
    after: int

    def rows(self, count: int, part: Literal["train", "test"]) -> list[tuple[int, int]]:
        """Return (first, beyond) of each window over `count` rows; the ends are shorter.

        >>> RICHET2024.rows(25, "train")
        [(0, 10), (10, 20), (20, 25)]
        >>> RICHET2024.rows(25, "test")[12]
        (2, 23)
        """
        if part == "train":
            starts = range(0, count, self.chunk)
            return [(at, min(at + self.chunk, count)) for at in starts]
        return [(max(at - self.before, 0), min(at + self.after, count)) for at in range(count)]

    def spans(self, track: Track, part: Literal["train", "test"]) -> list[Span]:
        """Return the windows over a track's rows as times."""
        edges = [track.start + i / track.rate_hz for i in range(len(track.values) + 1)]
        return [Span(edges[a], edges[b]) for a, b in self.rows(len(track.values), part)]


# Richet et al. 2024 as released: a 10-row hop in training, 21 rows around every row in the test
RICHET2024 = RowWindows(chunk=10, before=10, after=11)
PUBLISHED = {"richet2024": RICHET2024}
