"""MELD: utterances of a TV series with speaker, emotion and dialogue.

    Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,…
    1,"Oh, that is so nice of you!",Anna,joy,positive,0,0,4,7,…

Files `{train,dev,test}_sent_emo.csv`; a clip's video is `{split}/dia{D}_utt{U}.mp4` where that file
exists, otherwise the clip is text only. Rows are identified by split, dialogue and utterance, never
by text: 1291 training rows repeat another row's text. MELD is dialogue-disjoint, not speaker- or
episode-independent.
"""

from __future__ import annotations

import csv
from pathlib import Path

from textualize.datasets import Listing
from textualize.errors import TextualizeError
from textualize.labels import LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip, Span, Utterance

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
MAX_TURNS = 10  # earlier turns kept as context; recipes choose how many of them are read
# cp1252 punctuation that the published files carry as C1 control characters, and curly quotes
QUOTES = str.maketrans(
    {"\x85": "...", "\x91": "'", "\x92": "'", "\x93": '"', "\x94": '"', "\x96": "-", "\x97": "-",
     "‘": "'", "’": "'", "“": '"', "”": '"', "…": "..."}
)  # fmt: skip


def load(root: Path) -> Listing:
    """Return the utterances of every split file under `root`.

    Raises:
        TextualizeError: no split file there.
    """
    clips: list[Clip] = []
    failures: list[Failure] = []
    for name, split in SPLITS.items():
        path = root / f"{name}_sent_emo.csv"
        if path.is_file():
            _read(path, root / name, split, clips, failures)
    if not clips:
        raise TextualizeError(f"no MELD split file (train_sent_emo.csv, …) in {root}")
    return Listing(tuple(clips), LABEL_SETS["meld7"], tuple(failures))


def _read(path: Path, media: Path, split: str, clips: list[Clip], failures: list[Failure]) -> None:
    turns: dict[str, list[Utterance]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=_order)
    for row in rows:
        name = f"{split}_dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
        label = row["Emotion"].strip().lower()
        if label not in LABEL_SETS["meld7"].labels:
            failures.append(failure(name, "meld", f"{path.name}: unknown emotion '{label}'"))
            continue
        text = " ".join(row["Utterance"].translate(QUOTES).split())
        earlier = turns.setdefault(row["Dialogue_ID"], [])
        video = media / f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4"
        clips.append(
            Clip(
                id=name,
                video=video if video.is_file() else None,
                subject=row["Speaker"],
                group=f"{split}_dia{row['Dialogue_ID']}",
                context=tuple(earlier[-MAX_TURNS:]),
                label=label,
                split=split,
                transcript=text,
            )
        )
        earlier.append(Utterance(Span(0.0, 0.0), text, speaker=row["Speaker"], source="meld"))


def _order(row: dict[str, str]) -> tuple[int, int]:
    return int(row["Dialogue_ID"]), int(row["Utterance_ID"])
