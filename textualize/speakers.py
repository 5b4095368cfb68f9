"""How a subject usually looks and sounds: statistics of their own clips, without labels.

People differ more from each other than one person does between emotions; relating a clip to the
same person's other takes removes that. Both the words and the features read these statistics.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from textualize.types import Float32, Record, SpeakerStatistics, Track

FUNCTIONALS = ("mean", "std", "p10", "p90", "slope")
MIN_CLIPS = 4  # fewer clips of a subject say more about those clips than about the subject


def functionals(track: Track) -> Float32:
    """Return the track's functionals over time, (K, D) in the order of FUNCTIONALS.

    Unseen rows (NaN) are left out; a column never seen is NaN. `slope` is in units per second
    (0 for a single row).
    """
    if track not in _summaries:
        _summaries[track] = _functionals(track)
    return _summaries[track]


# statistics, words and features all ask for the same summaries, over and over
_summaries: WeakKeyDictionary[Track, Float32] = WeakKeyDictionary()


def _functionals(track: Track) -> Float32:
    values = np.asarray(track.values, dtype=np.float64)
    times = track.times
    seen = np.isfinite(values)
    values = np.where(seen, values, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # empty columns are NaN by contract
        mean = np.nanmean(values, axis=0)
        std = np.nanstd(values, axis=0)
        p10, p90 = _percentiles(values, seen)
        at = np.where(seen, times[:, None], np.nan)
        dt = at - np.nanmean(at, axis=0)
        spread = np.nansum(dt**2, axis=0)
        slope = np.where(spread > 0, np.nansum(dt * (values - mean), axis=0) / spread, 0.0)
    slope = np.where(seen.any(axis=0), slope, np.nan)
    return np.asarray([mean, std, p10, p90, slope], dtype=np.float32)


def _percentiles(values: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the 10th and 90th percentile of each column's seen rows, (2, D)."""
    if len(values) and seen.all():
        return np.asarray(np.percentile(values, [10, 90], axis=0))
    # column by column: numpy's own nanpercentile is an order slower
    columns = [values[s, i] for i, s in enumerate(seen.T)]
    none = np.full(2, np.nan)
    return np.stack([np.percentile(c, [10, 90]) if len(c) else none for c in columns], axis=1)


def is_summarised(track: Track) -> bool:
    """True for tracks that have named scalar columns, the ones functionals make sense of."""
    return track.values.ndim == 2 and bool(track.names)


def attach(records: Sequence[Record], min_clips: int = MIN_CLIPS) -> list[Record]:
    """Return the records with their subject's statistics over all given records.

    No label is read. Records without a subject, or whose subject has fewer than `min_clips`
    clips, get none.
    """
    known = statistics(records, min_clips)
    return [replace(r, speaker=known.get(r.clip.subject or "")) for r in records]


def statistics(
    records: Iterable[Record], min_clips: int = MIN_CLIPS
) -> dict[str, SpeakerStatistics]:
    """Return mean and standard deviation, across a subject's records, of every functional.

    Only the functionals of a record are kept once it has been seen, so that a corpus may be
    streamed through. Subjects with fewer than `min_clips` clips are left out.
    """
    clips = Counter[str]()
    collected: dict[str, dict[tuple[str, tuple[str, ...]], list[Float32]]] = {}
    for record in records:
        subject = record.clip.subject
        if subject is None:
            continue
        clips[subject] += 1
        own = collected.setdefault(subject, {})
        for name, track in record.tracks.items():
            if is_summarised(track):
                own.setdefault((name, track.names), []).append(functionals(track))
    return {
        subject: _statistics(subject, clips[subject], own)
        for subject, own in collected.items()
        if clips[subject] >= min_clips
    }


def _statistics(
    subject: str, clips: int, collected: Mapping[tuple[str, tuple[str, ...]], list[Float32]]
) -> SpeakerStatistics:
    mean: dict[str, Float32] = {}
    std: dict[str, Float32] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for (name, _), rows in collected.items():
            stacked = np.stack(rows).astype(np.float64)
            mean[name] = np.nanmean(stacked, axis=0).astype(np.float32)
            std[name] = np.nanstd(stacked, axis=0).astype(np.float32)
    return SpeakerStatistics(subject, clips, mean, std)


def relative(record: Record, name: str) -> Float32 | None:
    """Return the functionals of track `name` as z-scores among the subject's clips, (K, D).

    None when the record has no such track or no statistics for it. A functional that never
    varies for this subject is 0.
    """
    track = record.tracks.get(name)
    speaker = record.speaker
    if track is None or speaker is None or name not in speaker.mean:
        return None
    if speaker.mean[name].shape[1] != track.values.shape[1]:
        return None
    std = speaker.std[name]
    deviation = functionals(track) - speaker.mean[name]
    return np.where(std > 1e-6, deviation / np.maximum(std, 1e-6), 0.0 * deviation).astype(
        np.float32
    )
