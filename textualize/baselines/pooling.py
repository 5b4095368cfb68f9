"""Records to numbers per clip and per step, not yet standardised; NaN where nothing was seen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from textualize import speakers
from textualize.errors import TextualizeError
from textualize.types import Float32, Record, Track

CONSTANT = 1e-6  # a column that varies less than this over the training records is left at 0
Basis = str  # "raw" or "relative" (to the subject's own statistics)
BASES: tuple[Basis, ...] = ("raw", "relative")
_pooled: WeakKeyDictionary[Track, dict[tuple[int, float, float], Float32]] = WeakKeyDictionary()


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
    The "relative" basis is there when the subject's statistics are. short: the track does not
    reach over the first or the last step of the clip.
    """

    columns: tuple[str, ...]
    functionals: Mapping[Basis, Float32]
    sequence: Mapping[Basis, Float32]
    short: bool = False

    @property
    def seen(self) -> bool:
        """Whether any value of the track is there."""
        return bool(np.isfinite(self.functionals["raw"][0]).any())


Summaries = Mapping[str, Summary]  # of one clip, by track; a missing track is not in it


def summarise(
    record: Record, tracks: Sequence[str], steps: int, timed: Sequence[str] | None = None
) -> Summaries:
    """Return the numbers of a record's tracks; this is the slow part, done once per record.

    `timed` are the tracks whose length is the clip's where it has no span; by default all.

    Raises:
        TextualizeError: a track is not a (T, D) table, or not finite.
    """
    span = extent(record, tracks if timed is None else timed)
    found = {}
    for name in tracks:
        if name in record.tracks and len(record.tracks[name].values):
            if record.tracks[name].values.ndim != 2:
                raise TextualizeError(
                    f"record '{record.clip.id}': track '{name}' has shape "
                    f"{record.tracks[name].values.shape}, not (rows, columns): leave it out of "
                    "recipe key 'tracks'"
                )
            if np.isinf(record.tracks[name].values).any():
                raise TextualizeError(
                    f"record '{record.clip.id}': track '{name}' has infinite values: extract it "
                    "anew, or leave it out of recipe key 'tracks'"
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
    sequence = _sequence(track, steps, *span)
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
    return Summary(columns, functionals, sequences, short=_short(track, steps, span))


def _sequence(track: Track, steps: int, start: float, end: float) -> Float32:
    """Means, then deviations of the steps, (L, 2D); counted once, not for every seed and method."""
    own = _pooled.setdefault(track, {})
    key = (steps, start, end)
    if key not in own:
        own[key] = np.concatenate(pool(track, steps, start, end), axis=1)
        own[key].flags.writeable = False
    return own[key]


def _short(track: Track, steps: int, span: tuple[float, float]) -> bool:
    """Return whether the first or last step of the clip is beyond a track of several rows."""
    step = (span[1] - span[0]) / steps
    late = track.start >= span[0] + step
    early = track.start + len(track.values) / track.rate_hz <= span[1] - step
    return len(track.values) > 1 and (late or early)
