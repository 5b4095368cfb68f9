"""Records to tensors: pooled sequences, functionals, speaker-relative scales, training statistics.

Per track of D columns a clip becomes

    functionals   (K + 1) * D   mean, std, p10, p90, slope over the clip; 1 where the column was seen
    sequence      (L, 3 * D)    per step: mean, std within the step; 1 where the column was seen

Both are then standardised by statistics of the training records, and what was not seen is 0.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from textualize import speakers
from textualize.errors import TextualizeError
from textualize.types import Float32, Record, Track

LIMIT = 5.0  # standardised values are clipped here: one bad pitch frame must not decide a clip
CONSTANT = 1e-6  # a column that varies less than this over the training records is left at 0
Basis = str  # "raw" or "relative" (to the subject's own statistics)
BASES: tuple[Basis, ...] = ("raw", "relative")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a feature network reads: B clips, L steps.

    streams: (B, L, D) per stream.  steps: (B, L) bool per stream, False where nothing was seen.
    functionals: (B, F).  targets: (B,) class ids.  weights: (B,) of the loss.
    """

    streams: Mapping[str, Tensor]
    steps: Mapping[str, Tensor]
    functionals: Tensor
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor) -> Batch:
        """Return the batch of the given rows, in their order."""
        return Batch(
            {m: x[rows] for m, x in self.streams.items()},
            {m: x[rows] for m, x in self.steps.items()},
            self.functionals[rows],
            self.targets[rows],
            self.weights[rows],
        )

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on another device."""
        return Batch(
            {m: x.to(device) for m, x in self.streams.items()},
            {m: x.to(device) for m, x in self.steps.items()},
            self.functionals.to(device),
            self.targets.to(device),
            self.weights.to(device),
        )


def pool(track: Track, steps: int, start: float, end: float) -> tuple[Float32, Float32]:
    """Return mean and standard deviation per step, each (L, D), over [start, end) seconds.

    Rows that are NaN are left out; a step with no seen row is NaN. A step shorter than the
    distance of two rows takes the row it falls on; a track of one row is the same at every step.
    """
    values = np.asarray(track.values, np.float64)
    if len(values) == 1:
        return np.repeat(track.values, steps, 0), np.repeat(0.0 * track.values, steps, 0)
    edges = start + (end - start) * np.arange(steps + 1) / steps
    at = np.floor((edges - track.start) * track.rate_hz + 1e-6).astype(int)
    mean = np.full((steps, values.shape[1]), np.nan, np.float32)
    std = mean.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an unseen column is NaN by contract
        for step in range(steps):
            low, high = at[step], max(at[step] + 1, at[step + 1])
            rows = values[max(low, 0) : max(high, 0)]
            if len(rows):
                mean[step], std[step] = np.nanmean(rows, 0), np.nanstd(rows, 0)
    return mean, std


def extent(record: Record, tracks: Sequence[str]) -> tuple[float, float]:
    """Return start and end of the clip in seconds: its span, else what its tracks cover."""
    if record.clip.span is not None:
        return record.clip.span.start, record.clip.span.end
    present = [
        record.tracks[t] for t in tracks if t in record.tracks and len(record.tracks[t].values)
    ]
    dense = [t for t in present if len(t.values) > 1] or present
    if not dense:
        return 0.0, 1.0
    return min(t.start for t in dense), max(t.start + len(t.values) / t.rate_hz for t in dense)


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """One track of one clip as numbers, NaN where not seen, in both bases.

    functionals: (K, D) per basis. sequence: (L, 2D) per basis (mean, then std within the step).
    """

    functionals: Mapping[Basis, Float32]
    sequence: Mapping[Basis, Float32]


def summarise(record: Record, name: str, steps: int, span: tuple[float, float]) -> Summary:
    """Return a track's numbers; "relative" is there when the subject's statistics are.

    Relative functionals are `speakers.relative`; a relative sequence is (x - m) / s with m and s
    the mean and spread, over the subject's clips, of the clip mean (for step means) and of the
    clip's standard deviation (for deviations within a step). Where s is 0 the value is 0.
    """
    track = record.tracks[name]
    sequence = np.concatenate(pool(track, steps, *span), axis=1)
    functionals = {"raw": speakers.functionals(track)}
    sequences = {"raw": sequence}
    relative = speakers.relative(record, name)
    if relative is not None and record.speaker is not None:
        functionals["relative"] = relative
        m, s = (x[name][:2].reshape(-1) for x in (record.speaker.mean, record.speaker.std))
        usable = np.where(s > CONSTANT, (sequence - m) / np.maximum(s, CONSTANT), 0.0 * sequence)
        sequences["relative"] = usable.astype(np.float32)
    return Summary(functionals, sequences)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Mean and standard deviation of columns over the training records, each (D,)."""

    mean: Float32
    std: Float32

    @classmethod
    def of(cls, rows: Float32) -> Scale:
        """Return the scale of (N, D) rows, NaN left out; a column never seen has std 0."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            mean = np.nanmean(rows.astype(np.float64), axis=0)
            std = np.nanstd(rows.astype(np.float64), axis=0)
        return cls(np.nan_to_num(mean).astype(np.float32), np.nan_to_num(std).astype(np.float32))

    def __call__(self, x: Float32) -> Float32:
        """Return standardised values; unseen (NaN) and constant columns are 0."""
        z = np.where(self.std > CONSTANT, (x - self.mean) / np.maximum(self.std, CONSTANT), 0.0)
        return np.clip(np.nan_to_num(z), -LIMIT, LIMIT).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """How records become batches: fixed by the training records, stored with the model.

    columns: track -> column names. groups: stream -> its tracks. scales: "track/kind/basis" ->
    Scale, kind "functionals" (K*D wide), "sequence" (2D wide) or "seen" (D wide, basis "raw").
    """

    method: str
    columns: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    steps: int
    relative: bool
    scales: Mapping[str, Scale]

    @property
    def width(self) -> int:
        """Width F of the functionals."""
        return sum((len(speakers.FUNCTIONALS) + 1) * len(c) for c in self.columns.values())

    @property
    def widths(self) -> dict[str, int]:
        """Width D of each stream's sequence."""
        return {m: sum(3 * len(self.columns[t]) for t in own) for m, own in self.groups.items()}

    def batch(
        self,
        records: Sequence[Record],
        targets: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> tuple[Batch, list[str]]:
        """Return the records as one batch, and notes on what was missing.

        Raises:
            TextualizeError: a track has other columns than in training.
        """
        counts: Counter[str] = Counter()
        rows = [self._row(record, counts) for record in records]
        n = len(records)
        batch = Batch(
            {m: torch.from_numpy(np.stack([r[1][m] for r in rows])) for m in self.groups},
            {m: torch.from_numpy(np.stack([r[2][m] for r in rows])) for m in self.groups},
            torch.from_numpy(np.stack([r[0] for r in rows])),
            torch.tensor([0] * n if targets is None else list(targets)),
            torch.tensor([1.0] * n if weights is None else list(weights)),
        )
        notes = [f"{self.method}: {what} in {k} of {n} records" for what, k in counts.items()]
        return batch, notes

    def _row(
        self, record: Record, counts: Counter[str]
    ) -> tuple[Float32, dict[str, Float32], dict[str, np.ndarray]]:
        span = extent(record, list(self.columns))
        flat: dict[str, Float32] = {}
        sequence: dict[str, Float32] = {}
        seen: dict[str, np.ndarray] = {}
        for name in self.columns:
            flat[name], sequence[name], seen[name] = self._track(record, name, span, counts)
        return (
            np.concatenate(list(flat.values())),
            {m: np.concatenate([sequence[t] for t in own], 1) for m, own in self.groups.items()},
            {m: np.any([seen[t] for t in own], axis=0) for m, own in self.groups.items()},
        )

    def _track(
        self, record: Record, name: str, span: tuple[float, float], counts: Counter[str]
    ) -> tuple[Float32, Float32, np.ndarray]:
        """Return (F,) functionals, (L, 3D) sequence and (L,) whether any column was seen."""
        d, k = len(self.columns[name]), len(speakers.FUNCTIONALS)
        if not has(record, name):
            counts[f"track '{name}' missing"] += 1
            blank = self.scales[f"{name}/seen/raw"](np.zeros(d, np.float32))
            return (
                np.concatenate([np.zeros(k * d, np.float32), blank]),
                np.zeros((self.steps, 3 * d), np.float32),
                np.zeros(self.steps, bool),
            )
        check_columns(record, name, self.columns[name])
        summary = summarise(record, name, self.steps, span)
        basis = "relative" if self.relative and "relative" in summary.functionals else "raw"
        if self.relative and basis == "raw":
            counts[f"no speaker statistics for track '{name}' (training statistics instead)"] += 1
        if f"{name}/functionals/{basis}" not in self.scales:
            basis = "raw"  # no training record had speaker statistics: the model knows raw only
        flat = self.scales[f"{name}/functionals/{basis}"](summary.functionals[basis].reshape(-1))
        there = np.isfinite(summary.functionals["raw"][0]).astype(np.float32)
        steps = self.scales[f"{name}/sequence/{basis}"](summary.sequence[basis])
        seen = np.isfinite(summary.sequence["raw"][:, :d])
        return (
            np.concatenate([flat, self.scales[f"{name}/seen/raw"](there)]),
            np.concatenate([steps, seen.astype(np.float32)], axis=1),
            seen.any(axis=1),
        )


def has(record: Record, name: str) -> bool:
    """True when the record has a track of that name with at least one row."""
    return name in record.tracks and len(record.tracks[name].values) > 0


def columns_of(track: Track) -> tuple[str, ...]:
    """Return the names of a track's columns; an embedding's are its numbers."""
    return track.names or tuple(str(i) for i in range(track.values.shape[1]))


def check_columns(record: Record, name: str, expected: tuple[str, ...]) -> None:
    """Raise TextualizeError when a record's track is not (T, D) with the expected columns."""
    track = record.tracks[name]
    if track.values.ndim != 2:
        raise TextualizeError(
            f"record '{record.clip.id}': track '{name}' is not a table of numbers "
            f"(shape {track.values.shape}); name tracks of shape (T, D) in 'tracks'"
        )
    given = columns_of(track)
    if given != expected:
        odd = sorted(set(given) ^ set(expected))[:3] or ["their order"]
        raise TextualizeError(
            f"record '{record.clip.id}': track '{name}' has {len(given)} columns, the model "
            f"{len(expected)}; they differ in {', '.join(odd)}: extract all with the same sensors"
        )


def fit(
    records: Sequence[Record],
    method: str,
    tracks: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    steps: int,
    relative: bool,
) -> Features:
    """Return how to make batches, with scales from these (training) records only.

    Raises:
        TextualizeError: a track is in none of the records, or its columns differ among them.
    """
    columns: dict[str, tuple[str, ...]] = {}
    for name in tracks:
        first = next((r for r in records if has(r, name)), None)
        if first is None:
            raise TextualizeError(_absent(records, method, tracks))
        columns[name] = (
            columns_of(first.tracks[name]) if first.tracks[name].values.ndim == 2 else ()
        )
        for record in records:
            if has(record, name):
                check_columns(record, name, columns[name])
    scales: dict[str, Scale] = {}
    for name in tracks:
        own = [summarise(r, name, steps, extent(r, tracks)) for r in records if has(r, name)]
        absent = len(records) - len(own)
        there = np.stack([np.isfinite(s.functionals["raw"][0]) for s in own])
        blank = np.zeros((absent, there.shape[1]))
        scales[f"{name}/seen/raw"] = Scale.of(np.concatenate([there, blank]).astype(np.float32))
        for basis in BASES if relative else BASES[:1]:
            known = [s for s in own if basis in s.functionals]
            if known:
                flat = np.stack([s.functionals[basis].reshape(-1) for s in known])
                scales[f"{name}/functionals/{basis}"] = Scale.of(flat)
                sequence = np.concatenate([s.sequence[basis] for s in known])
                scales[f"{name}/sequence/{basis}"] = Scale.of(sequence)
    own_groups = {m: tuple(own) for m, own in groups.items()}
    return Features(method, columns, own_groups, steps, relative, scales)


def _absent(records: Sequence[Record], method: str, tracks: Sequence[str]) -> str:
    wanted = " and ".join(f"'{t}'" for t in tracks)
    if not records:
        return f"{method} reads tracks {wanted}; there are no training records"
    found = ", ".join(f"'{t}'" for t in records[0].tracks) or "no tracks"
    return (
        f"{method} reads tracks {wanted}; record '{records[0].clip.id}' has {found} "
        "(run: textualize extract --sensors mediapipe,prosody)"
    )
