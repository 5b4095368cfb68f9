"""Texts as a dataset's files spell them, before a loader makes quotes and blanks alike.

Published counts of repeated texts are of these; what a method reads is the loader's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from textualize.datasets.typography import read_text

# dataset -> split -> file; the column is called Utterance in all of them
_FILES: Mapping[str, Mapping[str, str]] = {
    "meld": {
        "train": "train_sent_emo.csv",
        "validation": "dev_sent_emo.csv",
        "test": "test_sent_emo.csv",
    },
    "emorynlp": {
        "train": "emorynlp_train_final.csv",
        "validation": "emorynlp_dev_final.csv",
        "test": "emorynlp_test_final.csv",
    },
}


def published_texts(dataset: str | None, root: Path) -> dict[str, list[str]]:
    """Return the utterances of every split file that is there, untouched; {} for other datasets.

    Args:
        dataset: the dataset's name, or None.
        root: its folder.
    """
    found: dict[str, list[str]] = {}
    for split, name in _FILES.get(dataset or "", {}).items():
        path = root / name
        if path.is_file():
            table = csv.DictReader(io.StringIO(read_text(path)[0], newline=""))
            found[split] = [row.get("Utterance") or "" for row in table]
    return found
