"""Records to tensors: pooled sequences, functionals, speaker-relative scales, training statistics.

Per track of D columns a clip becomes

    functionals   (K + 1) * D   mean, std, p10, p90, slope over the clip; 1 where a column was seen
    sequence      (L, 3 * D)    per step: mean, std within the step; 1 where a column was seen

Both are then standardised by statistics of the training records, and what was not seen is 0.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textualize import speakers
from textualize.errors import TextualizeError
from textualize.types import Float32, Record, Track

LIMIT = 5.0  # standardised values are clipped here: one bad pitch frame must not decide a clip
CONSTANT = 1e-6  # a column that varies less than this over the training records is left at 0
Basis = str  # "raw" or "relative" (to the subject's own statistics)
Bool = NDArray[np.bool_]
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
    """One track of one clip as numbers, NaN where not seen, per basis.

    functionals: (K, D), mean first. sequence: (L, 2D), means then deviations within the step.
    The "relative" basis is there when the subject's statistics are.
    """

    columns: tuple[str, ...]
    functionals: Mapping[Basis, Float32]
    sequence: Mapping[Basis, Float32]


Summaries = Mapping[str, Summary]  # of one clip, by track; a missing track is not in it


def summarise(record: Record, tracks: Sequence[str], steps: int) -> Summaries:
    """Return the numbers of a record's tracks; this is the slow part, done once per record.

    Raises:
        TextualizeError: a track is not a (T, D) table.
    """
    span = extent(record, tracks)
    found = {}
    for name in tracks:
        if name in record.tracks and len(record.tracks[name].values):
            if record.tracks[name].values.ndim != 2:
                raise TextualizeError(
                    f"record '{record.clip.id}': track '{name}' has shape "
                    f"{record.tracks[name].values.shape}, not (rows, columns): leave it out of "
                    "recipe key 'tracks'"
                )
            found[name] = summary(record, name, steps, span)
    return found


def summary(record: Record, name: str, steps: int, span: tuple[float, float]) -> Summary:
    """Return one track's numbers.

    Relative functionals are `speakers.relative`; a relative sequence is (x - m) / s with m and s
    the mean and spread, over the subject's clips, of the clip mean (for step means) and of the
    clip's standard deviation (for deviations within a step). Where s is 0 the value is 0.
    A track of one row has a mean and no other functional.
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
    if len(track.values) == 1:
        for rows in functionals.values():
            rows[1:] = np.nan
    columns = track.names or tuple(str(i) for i in range(track.values.shape[1]))
    return Summary(columns, functionals, sequences)


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
        clips: Sequence[Summaries],
        targets: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> tuple[Batch, list[str]]:
        """Return the clips as one batch, and notes on what was missing.

        Raises:
            TextualizeError: a track has other columns than in training.
        """
        counts: Counter[str] = Counter()
        n = len(clips)
        flat: list[Float32] = []
        sequences: dict[str, list[Float32]] = {m: [] for m in self.groups}
        seen: dict[str, list[Bool]] = {m: [] for m in self.groups}
        for clip in clips:
            parts = {t: self._track(clip, t, counts) for t in self.columns}
            flat.append(np.concatenate([p.functionals for p in parts.values()]))
            for m, own in self.groups.items():
                sequences[m].append(np.concatenate([parts[t].sequence for t in own], axis=1))
                seen[m].append(np.any([parts[t].seen for t in own], axis=0))
        batch = Batch(
            {m: torch.from_numpy(np.stack(x)) for m, x in sequences.items()},
            {m: torch.from_numpy(np.stack(x)) for m, x in seen.items()},
            torch.from_numpy(np.stack(flat)),
            torch.tensor([0] * n if targets is None else list(targets)),
            torch.tensor([1.0] * n if weights is None else list(weights)),
        )
        notes = [f"{self.method}: {what} in {k} of {n} records" for what, k in counts.items()]
        return batch, notes

    def _track(self, clip: Summaries, name: str, counts: Counter[str]) -> _Part:
        d, k = len(self.columns[name]), len(speakers.FUNCTIONALS)
        there = self.scales[f"{name}/seen/raw"]
        if name not in clip:
            counts[f"track '{name}' missing"] += 1
            flat = np.concatenate([np.zeros(k * d, np.float32), there(np.zeros(d, np.float32))])
            return _Part(
                flat, np.zeros((self.steps, 3 * d), np.float32), np.zeros(self.steps, bool)
            )
        own = clip[name]
        check_columns(name, own.columns, self.columns[name])
        basis = "relative" if self.relative and "relative" in own.functionals else "raw"
        if self.relative and basis == "raw":
            counts[f"no speaker statistics for track '{name}', training statistics used"] += 1
        elif f"{name}/functionals/{basis}" not in self.scales:
            counts[f"speaker statistics for track '{name}' not used: training had none"] += 1
            basis = "raw"
        functionals = self.scales[f"{name}/functionals/{basis}"](own.functionals[basis].reshape(-1))
        columns_seen = np.isfinite(own.functionals["raw"][0]).astype(np.float32)
        sequence = self.scales[f"{name}/sequence/{basis}"](own.sequence[basis])
        steps_seen = np.isfinite(own.sequence["raw"][:, :d])
        return _Part(
            np.concatenate([functionals, there(columns_seen)]),
            np.concatenate([sequence, steps_seen.astype(np.float32)], axis=1),
            steps_seen.any(axis=1),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One track, standardised: (F,) functionals, (L, 3D) sequence, (L,) any column seen."""

    functionals: Float32
    sequence: Float32
    seen: Bool


def check_columns(name: str, given: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Raise TextualizeError when a track's columns are not the expected ones in their order."""
    if given != expected:
        odd = sorted(set(given) ^ set(expected))[:3] or ["their order"]
        raise TextualizeError(
            f"track '{name}' has {len(given)} columns, expected {len(expected)}; they differ in "
            f"{', '.join(odd)}: extract all clips with the same sensors"
        )


def fit(
    clips: Sequence[Summaries],
    method: str,
    tracks: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    steps: int,
    relative: bool,
) -> Features:
    """Return how to make batches, with scales from these (training) clips only.

    Raises:
        TextualizeError: a track is in none of the clips, or its columns differ among them.
    """
    columns: dict[str, tuple[str, ...]] = {}
    scales: dict[str, Scale] = {}
    for name in tracks:
        own = [clip[name] for clip in clips if name in clip]
        if not own:
            raise TextualizeError(
                f"{method} reads tracks {', '.join(tracks)}; none of {len(clips)} training records "
                f"has '{name}' (run: textualize extract --sensors mediapipe,prosody)"
            )
        columns[name] = own[0].columns
        for each in own:
            check_columns(name, each.columns, columns[name])
        scales |= {f"{name}/{kind}": s for kind, s in _scales(own, len(clips), relative).items()}
    own_groups = {m: tuple(own) for m, own in groups.items()}
    return Features(method, columns, own_groups, steps, relative, scales)


def _scales(own: Sequence[Summary], clips: int, relative: bool) -> dict[str, Scale]:
    seen = np.zeros((clips, len(own[0].columns)), np.float32)  # clips without the track: not seen
    seen[: len(own)] = [np.isfinite(s.functionals["raw"][0]) for s in own]
    scales = {"seen/raw": Scale.of(seen)}
    for basis in BASES if relative else BASES[:1]:
        known = [s for s in own if basis in s.functionals]
        if known:
            flat = np.stack([s.functionals[basis].reshape(-1) for s in known])
            scales[f"functionals/{basis}"] = Scale.of(flat)
            scales[f"sequence/{basis}"] = Scale.of(
                np.concatenate([s.sequence[basis] for s in known])
            )
    return scales
