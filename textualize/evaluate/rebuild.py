"""A report made again from what is kept in its folder: predictions, conditions, evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError
from textualize.evaluate.answer_lines import answered_clip
from textualize.evaluate.answers import Given, as_given
from textualize.evaluate.cells import trained_by_name
from textualize.evaluate.evidence import (
    MATERIAL,
    TRAININGS,
    WEAKENED,
    Evidence,
    read_evidence,
)
from textualize.evaluate.findings import Report, Weakened
from textualize.evaluate.fold_leaks import found_again, material_leaks
from textualize.evaluate.fusing import combination_of
from textualize.evaluate.headline import headline_of
from textualize.evaluate.material import Leak, in_order
from textualize.evaluate.report import build_report
from textualize.evaluate.report_files import CLIPS
from textualize.evaluate.strata import Condition
from textualize.evaluate.videos import Videos, videos_of
from textualize.evaluate.weaken import weakened_scores
from textualize.files import read_jsonl
from textualize.labels import LABEL_SETS, LabelSet
from textualize.types import Clip, Prediction, Record

AS_WRITTEN = "minutes, clips/s, parameters and validation score of each single run (as it says)"
NEEDS_CORPUS = (
    "leaks in prompts and run folders, states of cues, extraction time (they need the corpus and "
    "runs)"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a report's folder keeps for its numbers to be made again."""

    records: Sequence[Record]
    predictions: Mapping[str, Given]
    conditions: Sequence[Condition]
    evidence: Evidence

    def taken(self, stored: Report) -> tuple[str, ...]:
        """Return what cannot be made again from it, by name, and why."""
        costs = AS_WRITTEN
        if not self.evidence.trainings:
            costs = f"cost columns and validation scores (no {TRAININGS})"
        found = [costs] if any(row.trained for row in stored.rows) else []
        if stored.weakened and not self.evidence.lost:
            found.append(f"scores as a modality is lost (no {WEAKENED})")
        if stored.videos and self.evidence.material is None:
            found.append(f"scores over videos (no {MATERIAL})")
        if self.evidence.material is None:
            found.append(f"leaks in folds and names (no {MATERIAL})")
        return (*found, NEEDS_CORPUS)


def kept_in(folder: Path) -> Kept:
    """Return what a report's folder keeps.

    Raises:
        TextualizeError: a file is missing or damaged.
    """
    records, predictions = _predictions(folder / "predictions.jsonl")
    conditions = read_jsonl(folder / CLIPS, "clips", lambda line: Condition(**line))
    return Kept(records, predictions, conditions, read_evidence(folder))


def rebuilt_report(stored: Report, kept: Kept) -> Report:
    """Return the report as its folder makes it; what cannot be made again is as stored.

    Raises:
        TextualizeError: the predictions do not go with the report.
    """
    labels = LabelSet("report", tuple(stored.labels), {})
    made = _scored(stored, kept, labels)
    combined = stored.combined
    if combined is not None and combined.name in kept.predictions:
        given = (combined.name, kept.predictions, kept.records, labels, made, combined.weights)
        made = replace(made, combined=combination_of(*given))
    return replace(
        made,
        weakened=_weakened(stored, made, kept, labels),
        leaks=_leaks(stored, kept),
        speaker=_speaker(stored, kept),
    )


def _scored(stored: Report, kept: Kept, labels: LabelSet) -> Report:
    """The report as its predictions and trainings make it."""
    own = {row.name for row in stored.rows}
    if not own >= set(stored.headline or ()):
        raise TextualizeError("the report is damaged: its headline names no line of its own")
    known = next((s for s in LABEL_SETS.values() if s.labels == labels.labels), labels)
    as_written = {row.name: row.trained for row in stored.rows if row.trained}
    made = build_report(
        kept.records,
        {name: given for name, given in kept.predictions.items() if name in own},
        known,
        runs=trained_by_name(kept.evidence.trainings) or as_written,
        pairs=[(d.a, d.b) for d in stored.differences] or None,
        claims=stored.claims,
        statistic=stored.statistic,
        draws=stored.draws,
        seed=stored.seed,
        intersect=stored.dropped > 0,
        created=stored.created,
        conditions=kept.conditions,
        headline=stored.headline,
        ablation=stored.ablation,
        videos=_videos(kept),
    )
    if kept.evidence.material is None:
        made = replace(made, videos=stored.videos)
    if stored.headline is None:  # one pair compared makes a headline, which here it did not
        return replace(made, headline=None, agreement=None)
    if len(stored.differences) > 1:  # a single pair may have been asked for
        smaller = {a.name for a in stored.ablation if a.name != a.method}
        whole = [row for row in made.rows if row.name not in smaller]
        made = replace(made, headline=headline_of(whole, None)[0])
    return made


def _videos(kept: Kept) -> Videos | None:
    material = kept.evidence.material
    if material is None:
        return None
    tested = [material.clips[c.clip_id] for c in kept.conditions if c.clip_id in material.clips]
    return videos_of(tested, material.clips, kept.evidence.folds)


def _weakened(stored: Report, made: Report, kept: Kept, labels: LabelSet) -> tuple[Weakened, ...]:
    if not kept.evidence.lost:
        return stored.weakened
    return weakened_scores(kept.evidence.lost, kept.predictions, kept.records, labels, made)


def _leaks(stored: Report, kept: Kept) -> tuple[Leak, ...]:
    """The leaks that are found again, beside those for which the corpus is needed."""
    material = kept.evidence.material
    if material is None:
        return stored.leaks
    tested = [material.clips.get(c.clip_id, Clip(c.clip_id, None)) for c in kept.conditions]
    compared = [c.clip_id for c in kept.conditions if c.speaker]
    again = material_leaks(material, kept.evidence.folds, tested, compared)
    rest = [one for one in stored.leaks if not found_again(one)]
    return in_order([*again, *rest])


def _speaker(stored: Report, kept: Kept) -> Mapping[str, int]:
    scored = {r.clip.id for r in kept.records if r.clip.label is not None}
    known = [c.speaker for c in kept.conditions if c.clip_id in scored]
    if stored.dropped or None in known:  # as in reports from before it was kept
        return stored.speaker
    return {"with": sum(bool(x) for x in known), "of": len(known)}


# --- files --------------------------------------------------------------------------------------


def _predictions(path: Path) -> tuple[list[Record], dict[str, Given]]:
    records: dict[str, Record] = {}
    predictions: dict[str, dict[int | None, list[Prediction]]] = {}

    def take(line: Mapping[str, Any]) -> None:
        clip, answer = answered_clip(line)
        records[clip.id] = Record(clip)
        own = predictions.setdefault(str(line["name"]), {})
        own.setdefault(line.get("seed"), []).append(answer)

    read_jsonl(path, "predictions", take)
    return list(records.values()), {name: as_given(own) for name, own in predictions.items()}
