"""What a report's page shows of one clip: answers, prompt, words, and its curves over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from textualize.evaluate import charts
from textualize.evaluate.findings import Report, Row
from textualize.explain import Explanation
from textualize.types import Cue, Float32, Prediction, Prompt, Record, Track
from textualize.wording import AU_NAMES
from textualize.wording.face import au_scale

_FULL = {"intensity": 5.0}  # the top of an action unit's scale, where it is not 1
_CURVES = {
    "f0_st": "pitch, semitones above 55 Hz",
    "energy_db": "energy, dB re full scale",
}
_SHARED = " than usual"  # which a prompt says once for several cues
_LEAST = 2  # words of a cue that its sentence in the prompt has to begin with


@dataclass(frozen=True, slots=True)
class Answer:
    """One method's answer for one clip; `bars` are (class, probability) in label order."""

    name: str
    kind: str
    label: str
    right: bool
    bars: tuple[tuple[str, float | None], ...]
    text: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a prompt, and when what it tells of was seen or heard.

    `left` and `width` are in percent of the chart over time; both None for words of the template.
    """

    text: str
    when: str = ""
    left: float | None = None
    width: float | None = None


@dataclass(frozen=True, slots=True)
class ClipPage:
    """What the template shows of one clip; the flags drive the filters."""

    record: Record
    href: str
    true: str
    answers: tuple[Answer, ...]
    text_answer: Answer | None
    features_answer: Answer | None
    timeline: Markup
    aus_note: str
    values: tuple[tuple[str, str], ...]
    prompt: Prompt | None
    pieces: tuple[Piece, ...]
    explanations: tuple[Explanation, ...]

    @property
    def flags(self) -> dict[str, bool]:
        """Whether the headline pair is wrong on this clip, and whether it disagrees."""
        text, features = self.text_answer, self.features_answer
        return {
            "text": text is not None and not text.right,
            "features": features is not None and not features.right,
            "disagree": text is not None and features is not None and text.label != features.label,
        }


def page_of(
    record: Record,
    report: Report,
    own: Mapping[str, Prediction],
    prompt: Prompt | None,
    explanations: Sequence[Explanation],
) -> ClipPage:
    """Return a clip's page; `own` are the methods' predictions."""
    answers = tuple(_answer(report.row(n), p, report, record) for n, p in own.items())
    headline = report.headline or (None, None)
    by_name = {a.name: a for a in answers}
    start, end = extent(record)
    return ClipPage(
        record=record,
        href=quote(f"clip-{record.clip.id}", safe=""),
        true=label_text(record.clip.label),
        answers=answers,
        text_answer=by_name.get(headline[0] or ""),
        features_answer=by_name.get(headline[1] or ""),
        timeline=over_time(record),
        aus_note=aus_note(record),
        values=single_values(record),
        prompt=prompt,
        pieces=tuple(pieces_of(prompt, start, end)) if prompt is not None else (),
        explanations=tuple(explanations),
    )


def _answer(row: Row, prediction: Prediction, report: Report, record: Record) -> Answer:
    scores = prediction.scores
    bars = tuple((c, scores.get(c) if scores else None) for c in report.labels)
    right = prediction.label is not None and prediction.label == record.clip.label
    label = "unparsed" if prediction.label is None else label_text(prediction.label)
    # a number is nearer or farther, never right or wrong
    return Answer(row.name, row.family, label, right or not report.labels, bars, prediction.text)


def label_text(label: str | float | None) -> str:
    """Return a label as a page shows it."""
    return f"{label:.2f}" if isinstance(label, float) else str(label)


def extent(record: Record) -> tuple[float, float]:
    """Return the clip's span in seconds, or what its tracks and words cover."""
    span = record.clip.span
    if span is not None and math.isfinite(span.end):
        return span.start, span.end
    long = [t for t in record.tracks.values() if len(t.values)]
    starts = [t.start for t in long] + [u.span.start for u in record.utterances]
    ends = [t.start + len(t.values) / t.rate_hz for t in long]
    ends += [u.span.end for u in record.utterances]
    return (min(starts), max(ends)) if starts else (0.0, 1.0)


# --- the prompt, sentence by sentence -----------------------------------------------------------


def pieces_of(prompt: Prompt, start: float, end: float) -> Iterable[Piece]:
    """Yield the prompt's text in pieces; those that tell a cue say when it was.

    A cue is found by its text, or by at least half of its words where what cues share ("than
    usual") is said once. Cues that are worded otherwise are told by the table of cues alone.
    """
    found: list[tuple[int, int, Cue]] = []
    for cue in sorted(prompt.cues, key=lambda c: -len(c.text)):
        at = _place(prompt.text, cue.text, found)
        if at is not None:
            found.append((*at, cue))
    done = 0
    for first, last, cue in sorted(found, key=lambda f: f[0]):
        if first > done:
            yield Piece(prompt.text[done:first])
        low, high = (cue.span.start, cue.span.end) if cue.span else (start, end)
        when = f"{low:.2f} to {high:.2f} s" if cue.span else "whole clip"
        left, right = (_percent(t, start, end) for t in (low, high))
        yield Piece(prompt.text[first:last], when, left, round(right - left, 2))
        done = last
    if done < len(prompt.text):
        yield Piece(prompt.text[done:])


def _place(text: str, cue: str, taken: Sequence[tuple[int, int, Cue]]) -> tuple[int, int] | None:
    words = cue.split(" ")
    fewest = min(len(words), max(_LEAST, (len(words) + 1) // 2))
    starts = [" ".join(words[:count]) for count in range(len(words), fewest - 1, -1)]
    for wanted in (cue, cue.replace(_SHARED, ""), *starts):
        at = text.find(wanted) if wanted.strip() else -1
        while at >= 0:
            if all(at + len(wanted) <= a or at >= b for a, b, _ in taken):
                return at, at + len(wanted)
            at = text.find(wanted, at + 1)
    return None


def _percent(seconds: float, start: float, end: float) -> float:
    """Where a time lies in the chart over time, in percent of the chart's width."""
    share = (seconds - start) / (max(end, start + 0.1) - start)
    return round(100 * (charts.LEFT + charts.SHARE * min(1.0, max(0.0, share))), 2)


# --- curves over time ---------------------------------------------------------------------------


def over_time(record: Record, *, quiet: bool = True) -> Markup:
    """Return the curves of face and voice over the clip's time, and its words, as one chart.

    Without `quiet`, action units that are never active are left out.
    """
    start, end = extent(record)
    aus = record.tracks.get("aus")
    bands = (*_au_bands(aus, start, end, quiet), *_voice_bands(record, start, end))
    words = [(w.span.start, w.span.end) for u in record.utterances for w in u.words]
    about = f"Clip {record.clip.id} over time, from {start:.2f} to {end:.2f} s"
    told = "; ".join(f"{b.label} {b.note}" for b in bands)
    return charts.timeline(bands, words, start, end, f"{about}: {told}")


def _on_axis(track: Track, values: Float32, start: float, end: float) -> charts.Float64:
    """A column of a track placed on the clip's time axis; NaN where the track says nothing."""
    curve = np.asarray(values, dtype=np.float64)
    if len(curve) == 1:  # one value holds for the whole clip
        return curve
    rate = float(track.rate_hz)
    before = max(0, round((track.start - start) * rate))
    after = max(0, round((end - track.start) * rate) - len(values))
    return np.concatenate([np.full(before, np.nan), curve, np.full(after, np.nan)])


def _au_bands(track: Track | None, start: float, end: float, quiet: bool) -> Iterable[charts.Band]:
    if track is None or not len(track.values):
        return
    values = np.asarray(track.values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    top = max(_FULL.get(track.unit, 1.0), float(finite.max()) if finite.size else 1.0)
    for i, name in enumerate(track.names):
        seen = values[np.isfinite(values[:, i]), i]
        if not quiet and not (seen > au_scale(track).active).any():
            continue
        note = f"{seen.max():.2f}" if seen.size else "unseen"
        label = f"{name} {AU_NAMES.get(name[:4], '')}".strip()
        yield charts.Band(label, _on_axis(track, track.values[:, i], start, end), 0.0, top, note)


def aus_note(record: Record) -> str:
    """Return how the action units were measured, and what their scale is."""
    track = record.tracks.get("aus")
    if track is None:
        return "no action units were measured"
    seen = int(np.isfinite(np.asarray(track.values)).any(axis=-1).sum())
    rows = "one mean over the clip" if len(track.values) == 1 else f"{track.rate_hz:g} a second"
    scale = {"intensity": "0 to 5", "probability": "probability 0 to 1", "presence": "0 or 1"}
    unit = scale.get(track.unit, "0 the clip's own neutral, 1 a full action")
    frames = f"face seen in {seen} of {len(track.values)} rows"
    return f"{track.source}, {rows}, scale {unit}; {frames}; shaded: no face; right: the peak"


def _voice_bands(record: Record, start: float, end: float) -> Iterable[charts.Band]:
    track = record.tracks.get("prosody")
    if track is None or len(track.values) < 2:
        return
    for name, label in _CURVES.items():
        if name not in track.names:
            continue
        column = _on_axis(track, track.column(name), start, end)
        seen = column[np.isfinite(column)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        note = f"{low:.0f} to {high:.0f}" if seen.size else "unheard"
        yield charts.Band(label, column, low, high, note, filled=False)


def single_values(record: Record) -> tuple[tuple[str, str], ...]:
    """Return what holds for the whole clip: named numbers of one-row tracks, action units aside."""
    found: Iterable[tuple[str, float]] = (
        (name, value)
        for key, track in record.tracks.items()
        if key != "aus" and track.unit == "named" and len(track.values) == 1
        for name, value in zip(track.names, track.values[0].tolist(), strict=True)
    )
    return tuple((n, f"{v:.2f}" if np.isfinite(v) else "unknown") for n, v in found)
