"""What finished runs answer on given clips, read in the labels of these clips."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textualize.errors import TextualizeError
from textualize.evaluate.answers import Given
from textualize.evaluate.cells import over_seeds
from textualize.evaluate.compounds import translated, translation
from textualize.evaluate.findings import Claim, Trained
from textualize.evaluate.lines import Training
from textualize.evaluate.sealed import log_sealed
from textualize.evaluate.trained_run import read_run
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet, Rule
from textualize.methods import Method, load
from textualize.types import Prediction, Record


@dataclass(frozen=True, slots=True)
class Answering:
    """A method's answers, by seed where it has several, and how it came to them.

    `how` says that its answers were translated, as "compounds from basics", "" where not; `leaks`
    is what its fold is known to share; `method` is that of the last seed; `trainings` has one run
    each.
    """

    name: str
    predictions: Given
    trained: Trained
    trainings: tuple[Training, ...]
    leaks: tuple[str, ...]
    how: str
    method: Method


def answering(
    name: str,
    runs: Sequence[Path],
    tested: Sequence[Record],
    labels: LabelSet,
    rule: Rule = "product",
    *,
    seeded: bool = False,
    on_validation: bool = False,
) -> Answering:
    """Return what the runs of one method, one a seed, answer on records.

    Args:
        name: what reports call the method.
        runs: the run folders.
        tested: labelled records; where they are of a sealed test split, that is written down.
        labels: the records' label set; a run of another is translated where that can be.
        rule: how a compound is scored from its two basics.
        seeded: keep the answers by seed.
        on_validation: the records are validation of the runs, knowingly.

    Raises:
        TextualizeError: a run is unfinished or has used one of the records.
    """
    seeds: list[Trained] = []
    by_seed: dict[int, Sequence[Prediction]] = {}
    leaks: list[str] = []
    how = ""
    for path in runs:
        run = RunFolder(path)
        refuse_seen(run, tested, ("train",) if on_validation else ("train", "validation"))
        method = load(path)
        begun = time.perf_counter()
        answers = method.predict(tested)
        speed = round(len(tested) / max(time.perf_counter() - begun, 1e-9), 1)
        log_sealed(path, name, tested)
        how = translation(run.labels, labels)
        if how:
            answers = translated(answers, run.labels, labels, rule)
        seeds.append(read_run(path, speed))
        by_seed[seeds[-1].seed or 0] = answers
        leaks += [f"{name}: {leak}" for leak in run.leaks]
    named = f"{name}, {how}" if how else name
    if how == "compounds from basics":
        named += f" ({rule})"
    given: Given = by_seed if seeded else answers
    runs_of = tuple(Training(named, t.seed or 0 if seeded else None, t) for t in seeds)
    return Answering(named, given, over_seeds(seeds), runs_of, tuple(leaks), how, method)


def translation_claims(found: Sequence[Answering]) -> list[Claim]:
    """Return the claims that answering directly is better than each translated answer."""
    return [
        Claim(direct.name, other.name, f"{direct.name} is better than {other.how}")
        for other in found
        if other.how
        for direct in found
        if not direct.how and direct.trained.method == other.trained.method
    ]


def refuse_seen(run: RunFolder, records: Sequence[Record], parts: Sequence[str]) -> None:
    """Raise TextualizeError where records are of these parts of a run's fold."""
    if not run.complete:
        return
    asked = {r.clip.id for r in records}
    own = run.parts
    for part in parts:
        seen = set(own[part]) & asked
        if run.leaks:  # a published fold, repeated as it is: its own test part may leak
            seen -= set(own["test"])
        if seen:
            raise TextualizeError(
                f"{run.path} used {len(seen)} of these clips for {part}: evaluate clips it has "
                "not seen (its own test part: --split test)"
            )
