"""The report: every method on the same clips, with intervals, differences and what was missing.

`build_report` computes from records and predictions alone; `report_files.py` writes.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from textualize.errors import TextualizeError
from textualize.evaluate import compare
from textualize.evaluate.answers import Answers, Given, answers, by_seed, shared, together
from textualize.evaluate.compare import Difference
from textualize.evaluate.findings import FAMILIES, Ablated, Claim, Report, Row, Trained
from textualize.evaluate.rows import Drawing, constant, row_of
from textualize.evaluate.strata import (
    Agreement,
    Condition,
    agreement_of,
    condition_of,
    strata_of,
)
from textualize.evaluate.tallies import LOWER_IS_BETTER
from textualize.evaluate.videos import Videos, video_scores
from textualize.files import read_json
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.types import MODALITIES, Prompt, Record

PACKAGES = ("textualize", "numpy", "scipy", "scikit-learn")


def read_run(run: str | Path, clips_per_s: float | None = None) -> Trained:
    """Return what a finished run folder says about its training.

    Raises:
        TextualizeError: not a run folder, or its training did not finish.
    """
    folder = RunFolder(run)
    recipe = folder.recipe_values
    if not folder.complete:
        raise TextualizeError(f"the run {run} is unfinished: train it again, it goes on from there")
    about = read_json(folder.path / "environment.json", "run environment")
    summary = about["summary"]
    named = [key.removeprefix("validation ") for key in summary if key.startswith("validation ")]
    select = str(named[0] if named else recipe["select"])  # of numbers another than of classes
    chosen = [line for line in folder.metrics() if line.get("selected") and select in line]
    validation = summary.get(f"validation {select}", chosen[-1][select] if chosen else None)
    return Trained(
        method=str(recipe["method"]),
        parameters=summary.get("parameters"),
        minutes=about["minutes"],
        clips_per_s=clips_per_s,
        tokens=summary.get("tokens per prompt"),
        validation=validation,
        select=select,
        seed=recipe["seed"],
        split_digest=str(read_json(folder.path / "splits.json", "splits")["digest"]),
        packages=about["packages"],
        summary=summary,
        notes=tuple(about["notes"]),
    )


def build_report(
    records: Sequence[Record],
    predictions: Mapping[str, Given],
    labels: LabelSet,
    *,
    prompts: Mapping[str, Prompt] | None = None,
    runs: Mapping[str, Trained] | None = None,
    title: str = "Words and features on the same clips",
    pairs: Sequence[tuple[str, str]] | None = None,
    claims: Sequence[Claim] = (),
    statistic: str = "macro_f1",
    draws: int = compare.DRAWS,
    seed: int = 0,
    intersect: bool = False,
    created: str | None = None,
    conditions: Sequence[Condition] | None = None,
    headline: tuple[str, str] | None = None,
    ablation: Sequence[Ablated] = (),
    videos: Videos | None = None,
) -> Report:
    """Return the report on several methods' predictions for the same clips.

    `predictions` maps a name to one prediction a clip, or to these by seed; `runs` says how the
    name was trained and is needed for names that are not themselves in the table of methods.
    `pairs` are the (a, b) to compare; by default every method that reads words with every method
    that reads tracks, and what `claims` are of. `conditions` sort the clips into strata; without
    them the records say. `headline` is the pair to look into, by default chosen on validation.
    What `ablation` names has its line, and is compared with no other. With `videos` the answers
    are scored over these too.

    Raises:
        TextualizeError: the clip sets differ and `intersect` is false; a name without a run is
            unknown; a clip is answered twice.
    """
    if not predictions:
        raise TextualizeError("no predictions to report on: give at least one method")
    runs = runs or {}
    asked = [
        together([answers(n, own, records, labels) for own in by_seed(p).values()])
        for n, p in sorted(predictions.items())
    ]
    methods, dropped = shared(asked, intersect=intersect)
    drawing = Drawing(statistic, draws, seed)
    rows = tuple(
        sorted(
            (
                row_of(m, predictions[m.method], labels, runs.get(m.method), drawing)
                for m in methods
            ),
            key=lambda r: (FAMILIES.index(r.family), r.name),
        )
    )
    by_name = {m.method: m for m in methods}
    smaller = {a.name for a in ablation if a.name != a.method}
    whole = [r for r in rows if r.name not in smaller]
    headline, doubt = (headline, "") if headline else headline_of(whole, pairs)
    differences = _differences(whole, by_name, pairs, claims, drawing)
    scored = set(methods[0].ids)
    used = [r for r in records if r.clip.id in scored]
    report = Report(
        title=title,
        created=created or datetime.now(UTC).isoformat(timespec="seconds"),
        labels=labels.labels,
        statistic=statistic,
        draws=draws,
        seed=seed,
        clips=len(scored),
        groups=len(set(methods[0].groups)),
        unlabelled=sum(r.clip.label is None for r in records),
        dropped=dropped,
        class_counts=_class_counts(methods[0], labels),
        rows=rows,
        differences=differences,
        headline=headline,
        noise=_noise(rows, len(scored)),
        constant=constant(methods[0], labels),
        cue_states=_states(used, prompts),
        speaker={"with": sum(r.speaker is not None for r in used), "of": len(used)},
        versions=_versions(),
        warnings=(),
        claims=tuple(claims),
        ablation=tuple(ablation),
        strata=strata_of(
            [condition_of(r) for r in used] if conditions is None else conditions,
            [m for m in methods if m.method not in smaller],
            draws=draws,
            seed=seed,
        ),
        agreement=_agreement(by_name, headline, labels, drawing),
        videos=video_scores([by_name[r.name] for r in rows], videos, draws=draws, seed=seed)
        if videos
        else None,
    )
    return replace(report, warnings=tuple(_warnings(report, doubt, len(records))))


def _agreement(
    methods: Mapping[str, Answers],
    headline: tuple[str, str] | None,
    labels: LabelSet,
    drawing: Drawing,
) -> Agreement | None:
    if headline is None:
        return None
    a, b = (methods[name] for name in headline)
    return agreement_of(a, b, labels.labels, draws=drawing.draws, seed=drawing.seed)


def _class_counts(method: Answers, labels: LabelSet) -> tuple[int, ...]:
    if labels.numeric:
        return ()
    return tuple(np.bincount(method.true, minlength=len(labels)).tolist())


def _noise(rows: Sequence[Row], clips: int) -> float | None:
    """Half the 95 % interval of the best accuracy, were clips independent; None for numbers."""
    if any("accuracy" not in r.scores for r in rows):
        return None
    best = max(r.scores["accuracy"].value for r in rows)
    return 1.96 * float(np.sqrt(best * (1 - best) / clips))


def headline_of(
    rows: Sequence[Row], pairs: Sequence[tuple[str, str]] | None
) -> tuple[tuple[str, str] | None, str]:
    """Return the words and the tracks method best on validation, or None and why not."""
    if pairs is not None:
        return (pairs[0], "") if len(pairs) == 1 else (None, "")
    chosen = []
    for reads in ("words", "tracks"):
        side = [r for r in rows if r.reads == reads]
        scores = {r.name: r.trained.validation if r.trained else None for r in side}
        if not side:
            return None, f"no method reads {reads}: words and features are not compared"
        if len(side) > 1 and any(score is None for score in scores.values()):
            lack = ", ".join(name for name, score in scores.items() if score is None)
            return None, f"no best method that reads {reads}: no validation score of {lack}"
        if len({r.trained.select for r in side if r.trained}) > 1:
            return None, f"methods that read {reads} were selected by different scores"
        select = next((r.trained.select for r in side if r.trained), "")
        sign = 1 if select in LOWER_IS_BETTER else -1
        chosen.append(min(side, key=lambda r: (sign * (scores[r.name] or 0.0), r.name)).name)
    return (chosen[0], chosen[1]), ""


def _differences(
    rows: Sequence[Row],
    methods: Mapping[str, Answers],
    pairs: Sequence[tuple[str, str]] | None,
    claims: Sequence[Claim],
    drawing: Drawing,
) -> tuple[Difference, ...]:
    if pairs is None:
        sides = {k: [r.name for r in rows if r.reads == k] for k in ("words", "tracks")}
        pairs = [(a, b) for a in sides["words"] for b in sides["tracks"]]
        pairs += [(c.better, c.than) for c in claims if (c.better, c.than) not in pairs]
    absent = sorted({name for pair in pairs for name in pair} - methods.keys())
    if absent:
        raise TextualizeError(
            f"no predictions of {', '.join(absent)} to compare; known: {', '.join(methods)}"
        )
    found = [
        compare.paired_difference(
            methods[a], methods[b], drawing.statistic, draws=drawing.draws, seed=drawing.seed
        )
        for a, b in pairs
    ]
    corrected = compare.holm([d.p for d in found])
    return tuple(replace(d, p_holm=p) for d, p in zip(found, corrected, strict=True))


def _states(
    records: Sequence[Record], prompts: Mapping[str, Prompt] | None
) -> dict[str, dict[str, int]]:
    """How many clips have a cue in each state, by modality; sensors' states without prompts."""
    counted: dict[str, Counter[str]] = {m: Counter() for m in MODALITIES}
    for record in records:
        if prompts is None:
            for modality in MODALITIES:
                status = record.status.get(modality)
                counted[modality][status.state if status else "not_run"] += 1
        elif record.clip.id not in prompts:
            raise TextualizeError(f"no prompt of clip '{record.clip.id}': render every clip")
        else:
            for modality, state in {(c.modality, c.state) for c in prompts[record.clip.id].cues}:
                counted[modality][state] += 1
    return {m: dict(sorted(c.items())) for m, c in counted.items() if c}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _warnings(report: Report, doubt: str, records: int) -> list[str]:
    """What a reader must know before believing a number."""
    said = [doubt] if doubt else []
    if report.groups < compare.FEW_GROUPS:
        said.append(f"few groups: {report.groups}; the intervals are too narrow")
    if report.dropped:
        said.append(f"{report.dropped} clips were left out: not every method answered them")
    if report.unlabelled:
        said.append(f"{report.unlabelled} of {records} clips have no label and are not scored")
    silent = records - report.unlabelled - report.dropped - report.clips
    if silent > 0:
        said.append(f"{silent} labelled clips were answered by no method and are not scored")
    empty = [n for n, c in zip(report.labels, report.class_counts, strict=True) if not c]
    if empty:
        said.append(f"no clip of {', '.join(empty)}: these classes score 0 in macro averages")
    splits = {r.trained.split_digest for r in report.rows if r.trained and r.trained.split_digest}
    if len(splits) > 1:
        said.append(f"the methods were trained on {len(splits)} different splits")
    said += [
        f"{r.name}: {', '.join(lack)} undefined: it answers the same for all clips or some groups"
        for r in report.rows
        if (lack := [s for s in report.score_names if s not in r.scores])
    ]
    said += [
        f"{r.name}: {r.unparsed} of {r.clips * max(1, len(r.seeds))} answers could not be read "
        "and count as wrong"
        for r in report.rows
        if r.unparsed
    ]
    return said
