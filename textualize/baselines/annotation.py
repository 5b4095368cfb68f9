"""Annotation as targets: labels of clips, or a track of annotation pooled to steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textualize.baselines.pooling import extent, pool
from textualize.baselines.task import Task, Values
from textualize.errors import TextualizeError
from textualize.labels import LabelSet, is_number
from textualize.types import Float32, Record, Track

Int64 = NDArray[np.int64]


def values_per_step(
    track: Track, steps: int, start: float, end: float, invalid: float | None
) -> Float32:
    """Return the mean of the annotated rows of every step, (L, V); NaN where there are none.

    A row's value is no annotation where it is NaN or `invalid` (-5 in Aff-Wild2).
    """
    rows = np.asarray(track.values, np.float32)
    if invalid is not None:
        rows = np.where(rows == invalid, np.float32(np.nan), rows)
    return pool(replace(track, values=rows), steps, start, end)[0]


def classes_per_step(track: Track, steps: int, start: float, end: float, classes: int) -> Int64:
    """Return the commonest class id of every step, (L,), of equals the lowest; -1 without any.

    A row is no annotation where it is NaN or negative.

    Raises:
        TextualizeError: the track has several columns, or an id is not of the classes.
    """
    rows = np.asarray(track.values, np.float64)
    if rows.ndim != 2 or rows.shape[1] != 1:
        raise TextualizeError(
            f"annotation of classes is one column of ids; the track has shape {rows.shape}"
        )
    ids = np.where(np.isfinite(rows[:, 0]), rows[:, 0], -1.0)
    known = ids >= 0
    wrong = ids[known][(ids[known] >= classes) | (ids[known] % 1 != 0)]
    if len(wrong):
        raise TextualizeError(f"annotated class ids should be 0 to {classes - 1}; given {wrong[0]}")
    chosen = np.full((len(ids), classes), np.nan, np.float32)
    chosen[known] = np.eye(classes, dtype=np.float32)[ids[known].astype(int)]
    share = pool(replace(track, values=chosen), steps, start, end)[0]
    seen = np.isfinite(share).all(1)
    return np.where(seen, np.nan_to_num(share).argmax(1), -1).astype(np.int64)


def clip_targets(records: Sequence[Record], task: Task, labels: LabelSet) -> Tensor:
    """Return what the clips' labels say: (B,) class ids, or (B, 1) values."""
    if task.kind == "classes":
        return torch.tensor([labels.index(r.clip.label) for r in records])
    return torch.tensor([[number(r)] for r in records], dtype=torch.float32)


def number(record: Record) -> float:
    """Return a clip's label as a number; raises TextualizeError for another label."""
    label = record.clip.label
    if isinstance(label, str) or not is_number(label):
        raise TextualizeError(
            f"clip '{record.clip.id}' is labelled {label!r}; expected a number: give recipe key "
            "task: classes, or label every clip with a number"
        )
    return float(label or 0.0)


def step_targets(
    records: Sequence[Record],
    track: str,
    task: Task,
    steps: int,
    timed: Sequence[str],
    invalid: float | None,
) -> Tensor:
    """Return a track of annotation over the steps: (B, L) class ids, or (B, L, V) values.

    A record without the track has no annotation. `timed` see `summarise`.
    """
    found = []
    for record in records:
        if track not in record.tracks or not len(record.tracks[track].values):
            shape = (steps,) if task.kind == "classes" else (steps, task.outputs)
            found.append(np.full(shape, -1 if task.kind == "classes" else np.nan, np.float32))
            continue
        start, end = extent(record, timed)
        own = record.tracks[track]
        if task.kind == "classes":
            found.append(classes_per_step(own, steps, start, end, task.outputs).astype(np.float32))
        else:
            found.append(values_per_step(own, steps, start, end, invalid))
    stacked = torch.from_numpy(np.stack(found))
    return stacked.long() if task.kind == "classes" else stacked


def annotated_values(targets: Tensor) -> Values:
    """Return mean, spread and ends of (…, V) values of training, NaN left out.

    Raises:
        TextualizeError: a value is nowhere annotated, or always the same.
    """
    rows = targets.double().flatten(0, -2).numpy()
    for v in range(rows.shape[1]):
        known = rows[np.isfinite(rows[:, v]), v]
        if not len(known) or np.ptp(known) == 0:
            what = f"is always {known[0]:g}" if len(known) else "is nowhere annotated"
            raise TextualizeError(f"value {v + 1} of {rows.shape[1]} {what} in training: "
                                  "there is nothing to learn")  # fmt: skip
    mean, std = np.nanmean(rows, 0), np.nanstd(rows, 0)
    low, high = np.nanmin(rows, 0), np.nanmax(rows, 0)
    return Values(*(tuple(float(x) for x in part) for part in (mean, std, low, high)))


def standardised(targets: Tensor, values: Values) -> Tensor:
    """Return (…, V) values as the networks are to give them; `Task.numbers` takes them back."""
    mean, std = (torch.tensor(x, dtype=torch.float64) for x in (values.mean, values.std))
    return ((targets.double() - mean) / std).float()
