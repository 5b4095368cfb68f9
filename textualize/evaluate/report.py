"""The report: every method on the same clips, with intervals, differences and what was missing.

`build_report` computes, `write_report` writes four files: a page to read (`report.html`), the
tables (`report.md`), all numbers (`report.json`) and every answer beside its true label
(`predictions.jsonl`), from which each number can be recomputed.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from textualize.errors import TextualizeError
from textualize.evaluate import compare, html, metrics
from textualize.evaluate.compare import Answers, Difference
from textualize.evaluate.findings import FAMILIES, SCORE_NAMES, Family, Report, Row, Trained
from textualize.explain import Explanation
from textualize.files import read_json, write_json_atomic, write_text_atomic
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.methods import METHODS, entry
from textualize.types import MODALITIES, Prediction, Prompt, Record

__all__ = ["Report", "Trained", "build_report", "read_run", "write_report"]

PACKAGES = ("textualize", "numpy", "scipy", "scikit-learn")
_FLOOR = ("majority", "bag-of-words")  # shown apart; bag-of-words still competes for the words


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
    select = str(recipe["select"])
    chosen = [line for line in folder.metrics() if line.get("selected") and select in line]
    validation = summary.get(f"validation {select}", chosen[-1][select] if chosen else None)
    return Trained(
        method=str(recipe["method"]),
        parameters=summary.get("parameters"),
        minutes=about["minutes"],
        clips_per_s=clips_per_s,
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
    predictions: Mapping[str, Sequence[Prediction]],
    labels: LabelSet,
    *,
    prompts: Mapping[str, Prompt] | None = None,
    runs: Mapping[str, Trained] | None = None,
    title: str = "Words and features on the same clips",
    pairs: Sequence[tuple[str, str]] | None = None,
    statistic: str = "macro_f1",
    draws: int = compare.DRAWS,
    seed: int = 0,
    intersect: bool = False,
    created: str | None = None,
) -> Report:
    """Return the report on several methods' predictions for the same clips.

    `predictions` maps a name to one prediction a clip; `runs` says how the name was trained and is
    needed for names that are not themselves in the table of methods. `pairs` are the (a, b) to
    compare; by default every method that reads words with every method that reads tracks.

    Raises:
        TextualizeError: the clip sets differ and `intersect` is false; a name without a run is
            unknown; a clip is answered twice.
    """
    if not predictions:
        raise TextualizeError("no predictions to report on: give at least one method")
    runs = runs or {}
    asked = [compare.answers(n, p, records, labels) for n, p in sorted(predictions.items())]
    methods, dropped = compare.shared(asked, intersect=intersect)
    rows = tuple(
        sorted(
            (
                _row(m, predictions[m.method], labels, runs.get(m.method), draws, seed)
                for m in methods
            ),
            key=lambda r: (FAMILIES.index(r.family), r.name),
        )
    )
    by_name = {m.method: m for m in methods}
    headline, doubt = _headline(rows, pairs)
    differences = _differences(rows, by_name, pairs, statistic, draws, seed)
    scored = set(methods[0].ids)
    used = [r for r in records if r.clip.id in scored]
    best = max(r.scores["accuracy"].value for r in rows)
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
        class_counts=tuple(np.bincount(methods[0].true, minlength=len(labels)).tolist()),
        rows=rows,
        differences=differences,
        headline=headline,
        noise=1.96 * float(np.sqrt(best * (1 - best) / len(scored))),
        constant=_constant(methods[0], labels),
        cue_states=_states(used, prompts),
        speaker={"with": sum(r.speaker is not None for r in used), "of": len(used)},
        versions=_versions(),
        warnings=(),
    )
    return replace(report, warnings=tuple(_warnings(report, doubt, len(records))))


def _row(
    method: Answers,
    predictions: Sequence[Prediction],
    labels: LabelSet,
    trained: Trained | None,
    draws: int,
    seed: int,
) -> Row:
    known = trained.method if trained else method.method
    if trained is None and known not in METHODS:
        raise TextualizeError(f"'{known}' is no known method and has no run: pass its run in runs=")
    reads = entry(known).reads
    sides: Mapping[str, Family] = {"words": "text", "tracks": "features", "nothing": "floor"}
    family: Family = "floor" if known in _FLOOR else sides[reads]
    n = method.n_classes
    chances = _probabilities(method, predictions, labels)
    return Row(
        name=method.method,
        family=family,
        reads=reads,
        scores={
            s: compare.cluster_bootstrap(
                method.true, method.predicted, method.groups, s, n_classes=n, draws=draws, seed=seed
            )
            for s in SCORE_NAMES
        },
        clips=len(method.ids),
        groups=len(set(method.groups)),
        unparsed=int((method.predicted == metrics.UNPARSED).sum()),
        ece=None if chances is None else metrics.ece(method.true, chances),
        brier=None if chances is None else metrics.brier(method.true, chances),
        per_class=tuple(metrics.per_class(method.true, method.predicted, n)),
        confusion=tuple(
            tuple(x) for x in metrics.confusion(method.true, method.predicted, n).tolist()
        ),
        reliability=() if chances is None else tuple(metrics.reliability(method.true, chances)),
        trained=trained,
    )


def _probabilities(
    method: Answers, predictions: Sequence[Prediction], labels: LabelSet
) -> metrics.Float64 | None:
    """Class probabilities (B, C) in the order of clip ids, zeros where unparsed, None if none."""
    scores = {p.clip_id: p.scores for p in predictions}
    told = [bool(scores[c]) or p < 0 for c, p in zip(method.ids, method.predicted, strict=True)]
    if not all(told) or not any(scores[c] for c in method.ids):
        return None
    rows = [[float(scores[c].get(label, 0.0)) for label in labels.labels] for c in method.ids]
    chances = np.array(rows, dtype=np.float64)
    broken = int((~np.isfinite(chances)).any(axis=1).sum())
    if broken:
        raise TextualizeError(
            f"method '{method.method}' gives class probabilities that are not numbers for {broken} "
            "clips: its training diverged, train it with a lower lr"
        )
    return chances


def _headline(
    rows: Sequence[Row], pairs: Sequence[tuple[str, str]] | None
) -> tuple[tuple[str, str] | None, str]:
    """The words and the tracks method best on validation, or None and why not."""
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
        chosen.append(min(side, key=lambda r: (-(scores[r.name] or 0.0), r.name)).name)
    return (chosen[0], chosen[1]), ""


def _differences(
    rows: Sequence[Row],
    methods: Mapping[str, Answers],
    pairs: Sequence[tuple[str, str]] | None,
    statistic: str,
    draws: int,
    seed: int,
) -> tuple[Difference, ...]:
    if pairs is None:
        sides = {k: [r.name for r in rows if r.reads == k] for k in ("words", "tracks")}
        pairs = [(a, b) for a in sides["words"] for b in sides["tracks"]]
    absent = sorted({name for pair in pairs for name in pair} - methods.keys())
    if absent:
        raise TextualizeError(
            f"no predictions of {', '.join(absent)} to compare; known: {', '.join(methods)}"
        )
    found = [
        compare.paired_difference(methods[a], methods[b], statistic, draws=draws, seed=seed)
        for a, b in pairs
    ]
    corrected = compare.holm([d.p for d in found])
    return tuple(replace(d, p_holm=p) for d, p in zip(found, corrected, strict=True))


def _constant(method: Answers, labels: LabelSet) -> dict[str, float | str]:
    """What always answering these clips' most frequent label would score."""
    most = int(np.bincount(method.true, minlength=len(labels)).argmax())
    always = np.full_like(method.true, most)
    return {
        "label": labels.labels[most],
        **{s: metrics.score(s, method.true, always, len(labels)) for s in SCORE_NAMES},
    }


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
        f"{r.name}: {r.unparsed} of {r.clips} answers could not be read and count as wrong"
        for r in report.rows
        if r.unparsed
    ]
    return said


# --- writing ------------------------------------------------------------------------------------


def write_report(
    report: Report,
    folder: str | Path,
    records: Sequence[Record],
    prompts: Mapping[str, Prompt] | None,
    predictions: Mapping[str, Sequence[Prediction]],
    explanations: Mapping[str, Sequence[Explanation]] | None = None,
) -> Path:
    """Write report.html, report.md, report.json and predictions.jsonl; return the HTML's path.

    `explanations`, by clip, stand on the clips' pages.
    """
    out = Path(folder)
    clips = {r.clip.id: r.clip for r in records}
    lines = [
        {
            "clip_id": p.clip_id,
            "group": clips[p.clip_id].fold_group,
            "true": clips[p.clip_id].label,
            "name": name,
            "method": p.method,
            "label": p.label,
            "scores": dict(p.scores),
            "text": p.text,
        }
        for name, own in sorted(predictions.items())
        for p in sorted(own, key=lambda p: p.clip_id)
    ]
    write_text_atomic(
        out / "predictions.jsonl",
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines),
    )
    write_json_atomic(out / "report.json", report.to_json())
    write_text_atomic(out / "report.md", report.to_markdown())
    page = html.render_report(
        report, records, prompts or {}, predictions, explanations=explanations
    )
    write_text_atomic(out / "report.html", page)
    return out / "report.html"
