"""Pooled records to tensors, standardised by statistics of the training records.

Per track of D columns a clip becomes

    functionals   (6 * D)       mean, std, p10, p90, slope over the clip; 1 where a column was seen
    sequence      (L, 3 * D)    per step: mean, std within the step; 1 where a column was seen

and what was not seen is 0.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textualize import speakers
from textualize.baselines.pooling import BASES, CONSTANT, Summaries, Summary
from textualize.errors import TextualizeError
from textualize.types import Float32

LIMIT = 5.0  # standardised values are clipped here: one bad pitch frame must not decide a clip
Bool = NDArray[np.bool_]


class Targeted(Protocol):
    """What a loss knows of a batch, see `Batch`."""

    @property
    def targets(self) -> Tensor:
        """What is right."""

    @property
    def weights(self) -> Tensor:
        """Of the loss, (B,)."""


class Source(Targeted, Protocol):
    """What the training loop takes batches from: features in memory, or pictures yet to be read."""

    @property
    def at_once(self) -> int:
        """How many clips a validation pass takes at once."""

    def __len__(self) -> int: ...

    def take(self, rows: Tensor) -> Any:
        """Return the batch of these clips, what a network's `forward` and `loss` are given."""

    def to(self, device: torch.device) -> Source:
        """Return the same clips, whose batches are on another device."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a feature network reads: B clips, L steps, the same L for every stream.

    streams: (B, L, D) per stream, 0 where unseen.  steps: (B, L) bool per stream, False where
    nothing was seen.  functionals: (B, F) of all tracks.  summaries: (B, 2 D) per stream, the
    functionals of its tracks.  weights: (B,) of the loss.  targets, by task:

        a class of the clip     (B,) long
        values of the clip      (B, V) float, NaN without annotation
        a class at every step   (B, L) long, -1 without annotation
        values at every step    (B, L, V) float, NaN without annotation

    subjects: whose clips they are, (B,) long, for a method that adapts to a person: 0, 1, … of
    people it learns the answers of, -1, -2, … of people whose labels it is not given.
    """

    streams: Mapping[str, Tensor]
    steps: Mapping[str, Tensor]
    functionals: Tensor
    targets: Tensor
    weights: Tensor
    subjects: Tensor | None = None
    summaries: Mapping[str, Tensor] = field(default_factory=dict)
    at_once: ClassVar[int] = 256

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
            None if self.subjects is None else self.subjects[rows],
            {m: x[rows] for m, x in self.summaries.items()},
        )

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on another device."""
        return Batch(
            {m: x.to(device) for m, x in self.streams.items()},
            {m: x.to(device) for m, x in self.steps.items()},
            self.functionals.to(device),
            self.targets.to(device),
            self.weights.to(device),
            None if self.subjects is None else self.subjects.to(device),
            {m: x.to(device) for m, x in self.summaries.items()},
        )

    def without_streams(self, chance: float) -> Batch:
        """Return the batch with streams hidden by chance, clip by clip; one of a clip's stays."""
        names = list(self.streams)
        hidden = torch.rand(len(self), len(names), device=self.weights.device) < chance
        kept = torch.randint(len(names), (len(self),), device=self.weights.device)
        hidden[torch.arange(len(self), device=hidden.device), kept] = False
        shown = {m: ~hidden[:, i, None] for i, m in enumerate(names)}
        return replace(
            self,
            streams={m: x * shown[m].unsqueeze(-1) for m, x in self.streams.items()},
            steps={m: x & shown[m] for m, x in self.steps.items()},
            summaries={m: x * shown[m] for m, x in self.summaries.items()},
        )


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
    standard: whether numbers are standardised by the scales, or taken as they are. training_only:
    tracks that are read in training and never to predict.
    """

    method: str
    columns: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    steps: int
    relative: bool
    scales: Mapping[str, Scale]
    standard: bool = True
    training_only: frozenset[str] = frozenset()

    @property
    def needed(self) -> list[str]:
        """The tracks that predicting reads."""
        return [t for t in self.columns if t not in self.training_only]

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
        targets: Tensor | None = None,
        weights: Sequence[float] | None = None,
        *,
        predicting: bool = False,
    ) -> tuple[Batch, list[str]]:
        """Return the clips as one batch, and notes on what was missing.

        To predict, tracks of training only are left at zero without a note.

        Raises:
            TextualizeError: a track has other columns than in training.
        """
        counts: Counter[str] = Counter()
        n = len(clips)
        unread = self.training_only if predicting else ()
        clips = [{t: s for t, s in clip.items() if t not in unread} for clip in clips]
        flat: list[Float32] = []
        sequences: dict[str, list[Float32]] = {m: [] for m in self.groups}
        summaries: dict[str, list[Float32]] = {m: [] for m in self.groups}
        seen: dict[str, list[Bool]] = {m: [] for m in self.groups}
        for clip in clips:
            parts = {t: self._track(clip, t, counts) for t in self.columns}
            flat.append(np.concatenate([p.functionals for p in parts.values()]))
            for m, own in self.groups.items():
                sequences[m].append(np.concatenate([parts[t].sequence for t in own], axis=1))
                seen[m].append(np.any([parts[t].seen for t in own], axis=0))
                summaries[m].append(np.concatenate([parts[t].functionals for t in own]))
        batch = Batch(
            {m: torch.from_numpy(np.stack(x)) for m, x in sequences.items()},
            {m: torch.from_numpy(np.stack(x)) for m, x in seen.items()},
            torch.from_numpy(np.stack(flat)),
            torch.zeros(n, dtype=torch.long) if targets is None else targets,
            torch.tensor([1.0] * n if weights is None else list(weights)),
            summaries={m: torch.from_numpy(np.stack(x)) for m, x in summaries.items()},
        )
        odd = {f"track '{t}' missing" for t in unread}
        told = {what: k for what, k in counts.items() if k and what not in odd}
        return batch, [f"{self.method}: {what} in {k} of {n} records" for what, k in told.items()]

    def _track(self, clip: Summaries, name: str, counts: Counter[str]) -> _Part:
        d, k = len(self.columns[name]), len(speakers.FUNCTIONALS)
        there = self.scales[f"{name}/seen/raw"]
        if name not in clip:
            counts[f"track '{name}' missing"] += 1
            unseen = self._scaled(there, np.zeros(d, np.float32))
            flat = np.concatenate([np.zeros(k * d, np.float32), unseen])
            return _Part(
                flat, np.zeros((self.steps, 3 * d), np.float32), np.zeros(self.steps, bool)
            )
        own = clip[name]
        check_columns(name, own.columns, self.columns[name])
        counts[f"track '{name}' without any value"] += not own.seen
        counts[f"track '{name}' shorter than the clip, the rest masked,"] += own.short
        basis = "relative" if self.relative and "relative" in own.functionals else "raw"
        trained = f"{name}/functionals/relative" in self.scales
        if self.relative and basis == "raw" and trained:
            counts[f"no speaker statistics for track '{name}', training statistics used"] += 1
        elif f"{name}/functionals/{basis}" not in self.scales:
            counts[f"speaker statistics for track '{name}' not used: training had none"] += 1
            basis = "raw"
        scale = self.scales[f"{name}/functionals/{basis}"]
        functionals = self._scaled(scale, own.functionals[basis].reshape(-1))
        columns_seen = np.isfinite(own.functionals["raw"][0]).astype(np.float32)
        sequence = self._scaled(self.scales[f"{name}/sequence/{basis}"], own.sequence[basis])
        steps_seen = np.isfinite(own.sequence["raw"][:, :d])
        return _Part(
            np.concatenate([functionals, self._scaled(there, columns_seen)]),
            np.concatenate([sequence, steps_seen.astype(np.float32)], axis=1),
            steps_seen.any(axis=1),
        )

    def _scaled(self, scale: Scale, x: Float32) -> Float32:
        return scale(x) if self.standard else np.nan_to_num(x, posinf=0.0, neginf=0.0)


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
    standard: bool = True,
    training_only: Sequence[str] = (),
) -> Features:
    """Return how to make batches, with scales from these (training) clips only.

    `training_only` are streams that predicting does without.

    Raises:
        TextualizeError: a track is in none of the clips or never has a value, its columns differ
            among them, or the groups do not divide the tracks.
    """
    own_groups = {m: tuple(own) for m, own in groups.items()}
    _check_groups(method, tracks, own_groups)
    columns: dict[str, tuple[str, ...]] = {}
    scales: dict[str, Scale] = {}
    for name in tracks:
        own = [clip[name] for clip in clips if name in clip]
        if not own:
            raise TextualizeError(
                f"{method} reads tracks {', '.join(tracks)}; none of {len(clips)} training records "
                f"has '{name}' (run: textualize extract --sensors mediapipe,prosody)"
            )
        if not any(each.seen for each in own):
            raise TextualizeError(
                f"{method}: track '{name}' has no value in any of {len(own)} training records: "
                "leave it out of recipe key 'tracks', or extract it anew"
            )
        columns[name] = own[0].columns
        for each in own:
            check_columns(name, each.columns, columns[name])
        scales |= {f"{name}/{kind}": s for kind, s in _scales(own, len(clips), relative).items()}
    unread = frozenset(t for m in training_only for t in own_groups.get(m, ()))
    return Features(
        method, columns, own_groups, steps, relative, scales, standard, training_only=unread
    )


def _check_groups(method: str, tracks: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    """Raise TextualizeError unless every track belongs to one stream (without streams: to none)."""
    for stream, own in groups.items():
        if not own:
            raise TextualizeError(f"{method}: recipe key 'groups' gives '{stream}' no track")
    grouped = [t for own in groups.values() for t in own]
    if groups and sorted(grouped) != sorted(tracks):
        raise TextualizeError(
            f"{method}: recipe key 'tracks' is {', '.join(tracks)} and 'groups' holds "
            f"{', '.join(grouped)}: every track belongs to one group"
        )


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
