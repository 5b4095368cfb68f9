"""The report as one HTML file: nothing is fetched, everything is escaped.

The page's text comes from recordings of strangers, so autoescape is on, the only script and style
are the page's own, and a content policy forbids any request.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from textualize.evaluate import charts, findings
from textualize.evaluate.findings import Report, Row
from textualize.explain import Explanation
from textualize.types import Float32, Prediction, Prompt, Record, Track
from textualize.wording import AU_NAMES

MAX_CLIPS = 300  # clip pages; more are a seeded sample, which the page states
TEMPLATES = Path(__file__).parent / "templates"
_FULL = {"intensity": 5.0}  # the top of an action unit's scale, where it is not 1
_CURVES = {
    "f0_st": "pitch, semitones above 55 Hz",
    "energy_db": "energy, dB re full scale",
}


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
class Curve:
    """One line of a clip's charts."""

    label: str
    chart: Markup
    note: str


@dataclass(frozen=True, slots=True)
class ClipPage:
    """What the template shows of one clip; the flags drive the filters."""

    record: Record
    href: str
    true: str
    answers: tuple[Answer, ...]
    text_answer: Answer | None
    features_answer: Answer | None
    aus: tuple[Curve, ...]
    aus_note: str
    voice: tuple[Curve, ...]
    values: tuple[tuple[str, str], ...]
    axis: Markup
    prompt: Prompt | None
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


def render_report(
    report: Report,
    records: Sequence[Record],
    prompts: Mapping[str, Prompt],
    predictions: Mapping[str, Sequence[Prediction]],
    limit: int = MAX_CLIPS,
    explanations: Mapping[str, Sequence[Explanation]] | None = None,
) -> str:
    """Return the report as one self-contained HTML page.

    At most `limit` clips, a sample drawn with the report's seed, get a page of their own, and
    those that `explanations` (by clip) are given for.
    """
    explained = explanations or {}
    by_name = {n: {p.clip_id: p for p in own} for n, own in predictions.items()}
    names = [r.name for r in report.rows]
    answered = [
        r
        for r in sorted(records, key=lambda r: r.clip.id)
        if r.clip.label is not None and all(r.clip.id in by_name[n] for n in names)
    ]
    shown = answered
    if len(answered) > limit:
        drawn = random.Random(report.seed).sample(range(len(answered)), limit)
        drawn += [i for i, r in enumerate(answered) if r.clip.id in explained]
        shown = [answered[i] for i in sorted(set(drawn))]
    pages = [
        _page(
            r,
            report,
            {n: by_name[n][r.clip.id] for n in names},
            prompts.get(r.clip.id),
            explained.get(r.clip.id, ()),
        )
        for r in shown
    ]
    template = _environment().get_template("report.html")
    return template.render(
        report=report,
        pages=pages,
        answered=len(answered),
        style=Markup((TEMPLATES / "report.css").read_text("utf-8")),  # our own file, not data
        script=Markup((TEMPLATES / "report.js").read_text("utf-8")),
        score_chart=_score_chart(report),
        difference_chart=_difference_chart(report),
        reliability=charts.reliability,
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["interval"] = findings.interval_text
    environment.filters["difference"] = findings.difference_text
    environment.filters["number"] = findings.number_text
    environment.filters["spoken"] = findings.score_text
    return environment


def _score_chart(report: Report) -> Markup:
    marks = []
    for row in report.rows:
        score = row.scores[report.statistic]
        numbers = findings.interval_text(score)
        marks.append(charts.Mark(row.name, score.value, score.low, score.high, row.family, numbers))
    caption = f"{findings.score_text(report.statistic)} with 95 % interval over groups"
    return charts.intervals(marks, caption)


def _difference_chart(report: Report) -> Markup:
    marks = [
        charts.Mark(
            f"{d.a} − {d.b}",
            d.value,
            d.low,
            d.high,
            (report.row(d.a if d.value > 0 else d.b).family if d.clear else "open"),
            findings.difference_text(d),
        )
        for d in report.differences
    ]
    caption = (
        f"Difference in {findings.score_text(report.statistic)}, words minus features, with 95 % "
        "interval; right of 0 words are better. Coloured where 0 is outside and Holm's p < 0.05"
    )
    return charts.intervals(marks, caption, zero=True)


# --- one clip -----------------------------------------------------------------------------------


def _page(
    record: Record,
    report: Report,
    own: Mapping[str, Prediction],
    prompt: Prompt | None,
    explanations: Sequence[Explanation],
) -> ClipPage:
    answers = tuple(_answer(report.row(n), p, report, record) for n, p in own.items())
    headline = report.headline or (None, None)
    by_name = {a.name: a for a in answers}
    start, end = _extent(record)
    aus = record.tracks.get("aus")
    return ClipPage(
        record=record,
        href=quote(f"clip-{record.clip.id}", safe=""),
        true=str(record.clip.label),
        answers=answers,
        text_answer=by_name.get(headline[0] or ""),
        features_answer=by_name.get(headline[1] or ""),
        aus=_au_curves(aus, start, end) if aus is not None else (),
        aus_note=_au_note(aus) if aus is not None else "no action units were measured",
        voice=_voice_curves(record, start, end),
        values=_single_values(record),
        axis=charts.time_axis(start, end),
        prompt=prompt,
        explanations=tuple(explanations),
    )


def _answer(row: Row, prediction: Prediction, report: Report, record: Record) -> Answer:
    scores = prediction.scores
    bars = tuple((c, scores.get(c) if scores else None) for c in report.labels)
    right = prediction.label is not None and prediction.label == record.clip.label
    label = "unparsed" if prediction.label is None else prediction.label
    return Answer(row.name, row.family, label, right, bars, prediction.text)


def _extent(record: Record) -> tuple[float, float]:
    """The clip's span, or what its tracks and words cover."""
    if record.clip.span is not None:
        return record.clip.span.start, record.clip.span.end
    long = [t for t in record.tracks.values() if len(t.values)]
    starts = [t.start for t in long] + [u.span.start for u in record.utterances]
    ends = [t.start + len(t.values) / t.rate_hz for t in long]
    ends += [u.span.end for u in record.utterances]
    return (min(starts), max(ends)) if starts else (0.0, 1.0)


def _on_axis(track: Track, values: Float32, start: float, end: float) -> charts.Float64:
    """A column of a track placed on the clip's time axis; NaN where the track says nothing."""
    rate = float(track.rate_hz)
    before = max(0, round((track.start - start) * rate))
    after = max(0, round((end - track.start) * rate) - len(values))
    curve = np.asarray(values, dtype=np.float64)
    return np.concatenate([np.full(before, np.nan), curve, np.full(after, np.nan)])


def _au_curves(track: Track, start: float, end: float) -> tuple[Curve, ...]:
    values = np.asarray(track.values, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        return ()
    finite = values[np.isfinite(values)]
    top = max(_FULL.get(track.unit, 1.0), float(finite.max()) if finite.size else 1.0)
    curves = []
    for i, name in enumerate(track.names):
        column = values[:, i]
        if len(values) > 1:
            column = _on_axis(track, track.values[:, i], start, end)
        chart = charts.strip(column, 0.0, top, filled=True, peak=True)
        if len(values) == 1:
            level = column[0] if np.isfinite(column[0]) else 0.0
            chart = charts.blocks([(0.0, float(level))], 0.0, top)
        seen = column[np.isfinite(column)]
        note = f"{seen.max():.2f}" if seen.size else "unseen"
        curves.append(Curve(f"{name} {AU_NAMES.get(name[:4], '')}".strip(), chart, note))
    return tuple(curves)


def _au_note(track: Track) -> str:
    seen = int(np.isfinite(np.asarray(track.values)).any(axis=-1).sum())
    rows = "one mean over the clip" if len(track.values) == 1 else f"{track.rate_hz:g} a second"
    scale = {"intensity": "0 to 5", "probability": "probability 0 to 1", "presence": "0 or 1"}
    unit = scale.get(track.unit, "0 the clip's own neutral, 1 a full action")
    frames = f"face seen in {seen} of {len(track.values)} rows"
    return f"{track.source}, {rows}, scale {unit}; {frames}; shaded: no face; right: the peak"


def _voice_curves(record: Record, start: float, end: float) -> tuple[Curve, ...]:
    track = record.tracks.get("prosody")
    if track is None or len(track.values) < 2:
        return ()
    curves = []
    for name, label in _CURVES.items():
        if name not in track.names:
            continue
        column = _on_axis(track, track.column(name), start, end)
        seen = column[np.isfinite(column)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        note = f"{low:.0f} to {high:.0f}" if seen.size else "unheard"
        curves.append(Curve(label, charts.strip(column, low, high), note))
    words = [(w.span.start, w.span.end) for u in record.utterances for w in u.words]
    if words:
        curves.append(Curve("words", charts.blocks(words, start, end), str(len(words))))
    return tuple(curves)


def _single_values(record: Record) -> tuple[tuple[str, str], ...]:
    """Named numbers that hold for the whole clip: one-row tracks other than the action units."""
    found: Iterable[tuple[str, float]] = (
        (name, value)
        for key, track in record.tracks.items()
        if key != "aus" and track.unit == "named" and len(track.values) == 1
        for name, value in zip(track.names, track.values[0].tolist(), strict=True)
    )
    return tuple((n, f"{v:.2f}" if np.isfinite(v) else "unknown") for n, v in found)
