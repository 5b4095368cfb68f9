"""What the sensors measured on the demo clips against how the clips were made."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.describe import describe
from textualize.extract.speech.word_error_rate import word_error_rate
from textualize.store import Corpus
from textualize.types import Record, Track

TRUTH = Path(__file__).parent / "truth.jsonl.gz"
CHECKED_AUS = ("AU01", "AU02", "AU04", "AU05", "AU12", "AU15", "AU25", "AU26", "AU43")


@dataclass(frozen=True, slots=True)
class SensorCheck:
    """Face rate, rank correlation per action unit, word error rate, agreement of the words."""

    clips: int
    face_rate: float
    correlations: Mapping[str, float]
    word_error_rate: float
    pitch_agreement: float
    rate_agreement: float

    def lines(self) -> list[str]:
        """Return the figures as lines to print."""
        aus = "  ".join(f"{au} {rho:.2f}" for au, rho in self.correlations.items())
        return [
            f"sensors against how the {self.clips} clips were made:",
            f"  face found in {self.face_rate:.1%} of frames",
            f"  drawn and measured action units, Spearman: {aus}",
            f"  transcripts (embedded recogniser): word error rate {self.word_error_rate:.2f}",
            f"  words agree with the voice as made: pitch {self.pitch_agreement:.0%}, "
            f"rate {self.rate_agreement:.0%} of clips",
        ]


def truth() -> dict[str, dict[str, Any]]:
    """Return how each clip was made, by clip id."""
    with gzip.open(TRUTH, "rt", encoding="utf-8") as stream:
        return {line["id"]: line for line in map(json.loads, stream)}


def check_sensors(corpus: Corpus) -> SensorCheck:
    """Compare a corpus of the demo clips with how they were made."""
    made = truth()
    records = [r for r in corpus.records() if r.clip.id in made]
    spoken = [made[r.clip.id]["text"] for r in records]
    heard = [r.transcript for r in records]
    return SensorCheck(
        len(records),
        float(np.mean(np.concatenate([_seen(r) for r in records]))),
        {au: _correlation(au, records, made) for au in CHECKED_AUS},
        word_error_rate(" ".join(spoken), " ".join(heard)),
        _agreement(records, made, "pitch ", "pitch_level", "low", "high"),
        _agreement(records, made, "speaking rate ", "rate_level", "slow", "fast"),
    )


def _seen(record: Record) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isfinite(record.tracks["aus"].values).any(axis=1)
    return found


def _correlation(
    au: str, records: Sequence[Record], made: Mapping[str, Mapping[str, Any]]
) -> float:
    """Return Spearman's rho over all seen frames of all clips."""
    from scipy.stats import spearmanr

    drawn: list[float] = []
    measured: list[float] = []
    for record in records:
        track, clip = record.tracks["aus"], made[record.clip.id]
        for value, at in zip(track.column(au), _drawn_at(track, clip, au), strict=True):
            if np.isfinite(value):
                measured.append(float(value))
                drawn.append(float(at))
    return float(spearmanr(drawn, measured).statistic)


def _drawn_at(track: Track, clip: Mapping[str, Any], au: str) -> NDArray[np.float64]:
    curve = np.asarray(clip["aus"][au], dtype=np.float64)
    index = np.rint(track.times * float(clip["rate_hz"])).astype(int)
    drawn: NDArray[np.float64] = curve[np.clip(index, 0, len(curve) - 1)]
    return drawn


def _agreement(
    records: Sequence[Record],
    made: Mapping[str, Mapping[str, Any]],
    starts: str,
    level: str,
    low: str,
    high: str,
) -> float:
    """Return the share of clips whose cue says what was made: low, usual or high.

    A clip made at a level other than the usual one agrees when the cue names that side; one made
    at the usual level agrees when the cue says at most "slightly" more or less.
    """
    right = 0
    for record in records:
        text = next(
            (c.text for c in describe(record, ["prosody"]) if _is_level(c.text, starts)), ""
        )
        said = (high in text) - (low in text)
        wanted = int(made[record.clip.id][level])
        right += said == wanted or (wanted == 0 and "slightly" in text)
    return right / len(records)


def _is_level(text: str, starts: str) -> bool:
    return text.startswith(starts) and "variation" not in text
