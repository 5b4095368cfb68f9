"""Hume's Expression Measurement JSON (batch predictions): every model's scores, by person.

A clip names its file as `sidecars["hume"]`, or "job.json#a01.mp4" where one job read several. The
scores are Hume's own, from 0 up and not probabilities: they do not sum to 1, and what is usual
differs by expression. Their tracks are "named" columns, `joy_hume`, for models to read; they are
not worded.

What the service gave per model: `face` (per sampled frame), `facemesh`, `prosody`, `burst`,
`language` and `ner` (per stretch of speech). Each model's predictions come grouped by person.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from textualize.errors import TextualizeError
from textualize.extract.imports.grid import covering, cut, gathered, regular
from textualize.extract.imports.table import Float64, Rows, located, names_of, text_of
from textualize.extract.sensor import Imported, Options, Reader, Reading, Reads
from textualize.extract.speech.transcripts import restrict
from textualize.extract.video import Media
from textualize.types import Modality, Span, Status, Track, Utterance

KEY = "hume"
Json = Mapping[str, Any]
_WHAT = "Hume's batch predictions (JSON)"
_MODELS = ("face", "facemesh", "prosody", "burst", "language", "ner")
_SCORES = {"emotions": "", "facs": "_facs", "descriptions": "_descriptions",
           "sentiment": "_sentiment", "toxicity": "_toxicity"}  # fmt: skip
_SPOKEN = ("language", "prosody")  # whose predictions carry words, the finer first
_BOX = ("score", "x_px", "y_px", "w_px", "h_px")
_FILES_KEPT = 4


class HumeScores:
    """Tracks "hume_face", "hume_prosody", "hume_burst", "hume_language", "hume_ner", and more.

    "hume_face_facs" and "hume_face_descriptions" are there when the job asked for them,
    "hume_box" with the face's place. Of several persons the one predicted most often is read.
    """

    name = "hume"
    version = "1"
    modality: Modality = "affect"
    weights = ""
    reads: tuple[Reads, ...] = ()

    def __init__(self, person: str = "", rate_hz: float = 10.0) -> None:
        """Take the person to read ("face_0", "unknown"; "" for the one seen most).

        `rate_hz` is how many rows a second a stretch of speech fills in its track.
        """
        if not rate_hz > 0:
            raise TextualizeError(f"hume:rate_hz should be above 0; given {rate_hz:g}")
        self.options: Options = {"person": person, "rate_hz": rate_hz}
        self._person, self._rate_hz = person, rate_hz

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives the clip's scores; absent where it names no file.

        The reader raises TextualizeError for a file that is missing or damaged, that does not
        hold the clip, or whose job failed on it.
        """
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        given = media.clip.sidecars.get(KEY)
        if not given:
            return Reading(Status("absent", self.name, "the clip names no Hume file"))
        models = read_models(given, media.clip.id)
        tracks: dict[str, Track] = {}
        notes: list[str] = []
        for model in _MODELS:
            groups = _groups(given, model, models.get(model))
            who, note = self._chosen(given, model, groups)
            try:
                made = self._tracks(model, groups.get(who, ()), media)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise TextualizeError(f"{given}: {model} of '{who}': {_said(error)}") from None
            tracks |= made
            notes += [note] if note and made else []
        if not tracks:
            return Reading(Status("absent", self.name, "Hume found nothing in this span"))
        return Reading(Status("observed", self.name, "; ".join(notes)), tracks)

    def _chosen(
        self, given: str, model: str, groups: Mapping[str, Sequence[Json]]
    ) -> tuple[str, str]:
        """Return whose predictions are read, and a note on the others."""
        if not groups:
            return "", ""
        most = max(groups, key=lambda g: len(groups[g]))
        who = self._person if self._person in groups else most
        others = len(groups) - 1
        return who, f"{model}: {others} other persons left out" if others else ""

    def _tracks(self, model: str, predictions: Sequence[Json], media: Media) -> dict[str, Track]:
        made = {}
        kinds = {**_SCORES, **({"box": "_box"} if model == "face" else {})}
        for kind, suffix in kinds.items():
            rows = [p for p in predictions if p.get(kind)]
            if not rows:
                continue
            names, values = _boxes(rows) if kind == "box" else _table(rows, kind)
            rate, start, order = self._grid(rows, media)
            track = Track(gathered(values, order), rate, start, names, "named", self.name)
            inside = cut(track, media.clip.span)
            if inside is not None and np.isfinite(inside.values).any():
                made["hume_box" if kind == "box" else f"hume_{model}{suffix}"] = inside
        return made

    def _grid(self, rows: Sequence[Json], media: Media) -> tuple[float, float, Rows]:
        """Return rate, start and rows of frames, of stretches of time, or of the whole clip."""
        times = [p.get("time") for p in rows]
        if all(isinstance(t, Mapping) for t in times):
            spans = [Span(float(t["begin"]), float(t["end"])) for t in times if t]
            span = media.span or Span(0.0, max(s.end for s in spans))
            return self._rate_hz, span.start, covering(spans, span, self._rate_hz)
        if any(t is None for t in times):  # facemesh, and text that nobody spoke
            alone = 1 / media.span.duration if media.span else 1.0
            return alone, media.span.start, np.arange(len(rows))
        at = np.array([float(t) for t in times if t is not None])
        rate, order = regular(at, 1 / (media.span.duration or 1.0), "Hume's predictions")
        return rate, float(at[0]), order


class HumeTranscript:
    """What Hume heard: one utterance a prediction of its speech models, with the speaker."""

    name = "hume-transcript"
    version = "1"
    modality: Modality = "speech"
    weights = ""
    reads: tuple[Reads, ...] = ()

    def __init__(self) -> None:
        """Build the sensor; it has nothing to load."""
        self.options: Options = {}

    def begin(self, media: Media) -> Reader:
        """Return a reader that gives the words; absent where no file or no words are.

        The reader raises TextualizeError as `HumeScores` does.
        """
        return Imported(partial(self._read, media))

    def _read(self, media: Media) -> Reading:
        given = media.clip.sidecars.get(KEY)
        if not given:
            return Reading(Status("absent", self.name, "the clip names no Hume file"))
        models = read_models(given, media.clip.id)
        # prosody's stretches are sentences; language may be cut into single words
        for model in reversed(_SPOKEN):
            groups = _groups(given, model, models.get(model))
            language = ((models.get(model) or {}).get("metadata") or {}).get("detected_language")
            try:
                said = [
                    self._utterance(p, who, language, media.span)
                    for who, predictions in groups.items()
                    for p in predictions
                    if str(p.get("text") or "").strip()
                ]
            except (KeyError, TypeError, ValueError) as error:
                raise TextualizeError(f"{given}: {model}: {_said(error)}") from None
            inside = restrict(said, media.span) if media.span else tuple(said)
            if inside:
                return Reading(
                    Status("observed", self.name, f"words of {model}"), utterances=inside
                )
        return Reading(Status("absent", self.name, "Hume heard no words in this span"))

    def _utterance(self, value: Json, who: str, language: str | None, span: Span) -> Utterance:
        time = value.get("time")
        at = Span(float(time["begin"]), float(time["end"])) if time else span
        sure = value.get("confidence")
        return Utterance(
            at,
            " ".join(str(value["text"]).split()),
            speaker=None if who == "unknown" else who,
            confidence=None if sure is None else float(sure),
            source=self.name,
            language=language,
        )


def read_models(given: str, clip_id: str) -> Json:
    """Return a file's models as the job gave them: {"face": {"grouped_predictions": …}, …}.

    `given` is a file or "file#input"; where a job read several inputs, the one that is called
    like the clip. Raises TextualizeError for a file that is not Hume's, an input that is not
    there, and one the job failed on.
    """
    path, key = located(given)
    inputs = read_inputs(path)
    wanted = clip_id if key is None else key
    if key is None and len(inputs) == 1:
        found: Json | str = next(iter(inputs.values()))
    else:
        match = next((n for n in inputs if wanted in names_of(n)), None)
        if match is None:
            some = ", ".join(list(inputs)[:5])
            raise TextualizeError(f"{path} has no input '{wanted}'; it has {len(inputs)}: {some}")
        found = inputs[match]
    if isinstance(found, str):
        raise TextualizeError(f"{path}: Hume's job failed on '{wanted}': {found}")
    return found


def read_inputs(path: Path) -> Mapping[str, Json | str]:
    """Return what a job says of each of its inputs: the models, or the error as a text."""
    try:
        stat = path.stat()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TextualizeError(f"cannot read {path}: {reason}; give {_WHAT}") from error
    return _inputs(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=_FILES_KEPT)
def _inputs(path: Path, mtime_ns: int, size: int) -> Mapping[str, Json | str]:
    try:
        value = json.loads(text_of(path, _WHAT))
    except ValueError as error:
        raise TextualizeError(f"{path} is not JSON: {error}; give {_WHAT}") from None
    found: dict[str, Json | str] = {}
    try:
        for one in value if isinstance(value, list) else [value]:
            results = one.get("results") or one
            source = (one.get("source") or {}).get("filename") or ""
            for failed in results.get("errors") or ():
                found[str(failed.get("file") or source)] = str(failed.get("message"))
            for prediction in results["predictions"]:
                found[str(prediction.get("file") or source)] = dict(prediction["models"])
    except (KeyError, TypeError, AttributeError) as error:
        raise TextualizeError(
            f"{path} is not {_WHAT}: {_said(error)}; expected results, predictions, models"
        ) from None
    if not found:
        raise TextualizeError(f"{path} has no predictions; give {_WHAT}")
    return found


def _groups(given: str, model: str, value: Json | None) -> dict[str, Sequence[Json]]:
    """Return a model's predictions by person."""
    if not value:
        return {}
    try:
        groups = value["grouped_predictions"]
        return {str(g["id"]): list(g["predictions"]) for g in groups if g["predictions"]}
    except (KeyError, TypeError) as error:
        raise TextualizeError(f"{given}: {model}: {_said(error)}; give {_WHAT}") from None


def _table(rows: Sequence[Json], kind: str) -> tuple[tuple[str, ...], Float64]:
    """Return the columns of all scores named anywhere, and their values, NaN where not given."""
    scores = [{str(s["name"]): float(s["score"]) for s in p[kind]} for p in rows]
    names = list(dict.fromkeys(name for row in scores for name in row))
    values = np.array([[row.get(name, np.nan) for name in names] for row in scores])
    if not np.isfinite(values).any():
        raise ValueError(f"{kind} has no finite score")
    return tuple(f"{_column(name)}_hume" for name in names), values


def _column(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _boxes(rows: Sequence[Json]) -> tuple[tuple[str, ...], Float64]:
    values = [[p.get("prob", np.nan), *(p["box"][c] for c in "xywh")] for p in rows]
    return _BOX, np.array(values, np.float64)


def _said(error: Exception) -> str:
    return f"no {error} in it" if isinstance(error, KeyError) else str(error)
