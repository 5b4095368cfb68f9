"""EmoryNLP: utterances of a TV series with seven emotions, scene by scene.

    Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Sentiment
    "There's nothing to tell!",['Anna Bell'],Neutral,4,1,1,3,neutral

Files `emorynlp_{train,dev,test}_final.csv`, text only. Rows are identified by season, episode,
scene and utterance, never by text; a scene is the group. An utterance may have several speakers.
"""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from textualize.datasets import Listing
from textualize.datasets.typography import Typography, read_text
from textualize.errors import TextualizeError
from textualize.labels import CODINGS, LABEL_SETS
from textualize.store import Failure, failure
from textualize.types import Clip, Span, Utterance

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
MAX_TURNS = 10  # earlier turns kept as context; recipes choose how many of them are read
_IDS = ("Season", "Episode", "Scene_ID", "Utterance_ID")
_COLUMNS = ("Utterance", "Speaker", "Emotion", *_IDS)


@dataclass(frozen=True, slots=True)
class _Row:
    scene: str
    number: int
    label: str
    speaker: str
    text: str


def load(root: Path) -> Listing:
    """Return the utterances of every split file under `root`.

    Raises:
        TextualizeError: no split file there, or one without EmoryNLP's columns.
    """
    clips: list[Clip] = []
    failures: list[Failure] = []
    texts, names = Typography(), Typography()
    notes: list[str] = []
    for name in SPLITS:
        path = root / f"emorynlp_{name}_final.csv"
        if path.is_file():
            text, note = read_text(path)
            notes += [note] if note else []
            rows = _rows(path, text, SPLITS[name], (texts, names), failures)
            clips += _scenes(rows, SPLITS[name])
    if not clips and not failures:
        raise TextualizeError(
            f"no EmoryNLP split file (emorynlp_train_final.csv, …) with rows in {root}"
        )
    notes += [*texts.notes("utterances"), *names.notes("speaker names")]
    return Listing(tuple(clips), LABEL_SETS["emory7"], tuple(failures), tuple(notes))


def speakers(cell: str) -> str:
    """Return the speakers of a cell as one text.

    >>> speakers("['Anna Bell', 'Ben Hill']"), speakers("Anna Bell")
    ('Anna Bell, Ben Hill', 'Anna Bell')
    """
    if not cell.strip().startswith("["):
        return cell.strip()
    try:
        names = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(f"speakers should be a list of names; given {cell[:40]!r}") from None
    return ", ".join(str(name).strip() for name in names)


def _rows(
    path: Path,
    text: str,
    split: str,
    typography: tuple[Typography, Typography],
    failures: list[Failure],
) -> list[_Row]:
    table = csv.DictReader(io.StringIO(text, newline=""))
    missing = [c for c in _COLUMNS if c not in (table.fieldnames or ())]
    if missing:
        raise TextualizeError(
            f"{path} has no column {', '.join(missing)}: give EmoryNLP's own file, with commas"
        )
    rows: dict[tuple[str, int], _Row] = {}
    try:
        for number, cells in enumerate(table, 2):
            try:
                row = _row(cells, *typography)
                if (row.scene, row.number) in rows:
                    raise ValueError(f"{row.scene} utterance {row.number} is given twice")
                rows[row.scene, row.number] = row
            except (TextualizeError, ValueError) as error:
                at = f"{path.name}: row {number}: {error}"
                failures.append(failure(f"{split}_row{number}", "emorynlp", at))
    except csv.Error as error:
        raise TextualizeError(f"{path} is no CSV file: {error}") from None
    return list(rows.values())


def _row(cells: Mapping[str, str | None], texts: Typography, names: Typography) -> _Row:
    cell = {name: cells[name] or "" for name in _COLUMNS}
    season, episode, scene, number = (int(cell[name]) for name in _IDS)
    return _Row(
        f"s{season:02d}_e{episode:02d}_c{scene:02d}",
        number,
        CODINGS["emorynlp"].label(cell["Emotion"].strip().title()),
        names.plain(speakers(cell["Speaker"])),
        texts.plain(cell["Utterance"]),
    )


def _scenes(rows: Iterable[_Row], split: str) -> list[Clip]:
    """Return the clips of a split, each with the turns before it in its scene."""
    clips: list[Clip] = []
    turns: dict[str, list[Utterance]] = {}
    for row in sorted(rows, key=lambda r: (r.scene, r.number)):
        earlier = turns.setdefault(row.scene, [])
        clips.append(
            Clip(
                id=f"{split}_{row.scene}_utt{row.number}",
                video=None,
                subject=row.speaker or None,
                group=row.scene,
                context=tuple(earlier[-MAX_TURNS:]),
                label=row.label,
                split=split,
                transcript=row.text,
            )
        )
        earlier.append(Utterance(Span(0.0, 0.0), row.text, speaker=row.speaker, source="emorynlp"))
    return clips
