"""The clips `textualize demo --quick` starts from: some of the demo corpus, already extracted.

textualize demo                        # extracts all clips to demo/corpus
python -m textualize.demo.quick demo/corpus
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from textualize.demo.run import SHIPPED
from textualize.errors import TextualizeError
from textualize.store import LOCK, Corpus, item_path

SUBJECTS = ("s01", "s02", "s03", "s04", "s05")


def write_quick(source: Path, target: Path = SHIPPED) -> int:
    """Copy the records of SUBJECTS from an extracted demo corpus; return how many there are."""
    corpus = Corpus(source)
    kept = [e for e in corpus.entries() if e.clip.subject in SUBJECTS]
    if not kept:
        raise TextualizeError(f"{source} is not an extracted demo corpus: run textualize demo")
    shutil.rmtree(target, ignore_errors=True)
    made = Corpus.create(target, corpus.labels, corpus.about["sensors"])
    for entry in kept:
        for key in entry.items.values():
            path = item_path(target, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item_path(source, key), path)
    made.write_entries(
        replace(e, clip=replace(e.clip, video=Path("clips") / Path(str(e.clip.video)).name))
        for e in kept
    )
    made.write_failures([])
    (target / LOCK).unlink(missing_ok=True)  # nobody writes to what is shipped
    return len(kept)


if __name__ == "__main__":
    print(write_quick(Path(sys.argv[1])), "clips in", SHIPPED)
