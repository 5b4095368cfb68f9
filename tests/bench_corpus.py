"""Seconds and peak memory of a large corpus: `python tests/bench_corpus.py [clips]`.

Every step runs in a process of its own, so that its peak is its own. The corpus is generated:
one face and one transcript item a clip, shared by clips of the same kind so that the generation
measures nothing but the index.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CLIPS = 100_000
SUBJECTS = 500
KINDS = 1000  # different items; each is read as often as if it belonged to one clip
LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def generate(folder: Path, clips: int) -> None:
    """Write a corpus of `clips` records with small tracks."""
    from textualize.labels import LABEL_SETS
    from textualize.store import Corpus, Entry, Item, write_item
    from textualize.types import Clip, Span, Status, Track, Utterance

    corpus = Corpus.create(folder, LABEL_SETS["basic7"])
    rng = np.random.default_rng(0)
    for kind in range(KINDS):
        values = rng.random((25, 12), dtype=np.float32)
        names = tuple(f"AU{i:02}" for i in range(1, 13))
        face = Track(values, 12.5, 0.0, names, "probability", "bench")
        words = Utterance(Span(0, 2), f"these are the words of kind {kind}", source="bench")
        write_item(folder, f"{kind:06}f", Item(Status("observed", "bench"), {"aus": face}))
        write_item(folder, f"{kind:06}s", Item(Status("observed", "bench"), {}, (words,)))
    corpus.write_entries(
        Entry(
            Clip(
                f"clip{i:06}",
                None,
                Span(0.0, 2.0),
                subject=f"s{i % SUBJECTS:03}",
                label=LABELS[i * 7919 % 7],
                split=("train", "train", "train", "validation", "test")[i % SUBJECTS % 5],
                transcript=f"these are the words of clip {i}",
            ),
            {"face": f"{i % KINDS:06}f", "speech": f"{i % KINDS:06}s"},
            f"{i:064}",
        )
        for i in range(clips)
    )


def opening(folder: Path) -> str:
    """Open the corpus and read its first entry."""
    from textualize.store import Corpus

    return next(Corpus(folder).iter_entries()).clip.id


def listing(folder: Path) -> str:
    """Go through every entry."""
    from textualize.store import Corpus

    return f"{sum(1 for _ in Corpus(folder).iter_entries())} entries"


def filtering(folder: Path) -> str:
    """Count the clips of one label and split."""
    from textualize.corpus.show import where_of
    from textualize.store import Corpus

    chosen = Corpus(folder).iter_entries(where_of(["label=fear", "split=test"]))
    return f"{sum(1 for _ in chosen)} entries"


def streaming(folder: Path) -> str:
    """Read every record's tracks, one after the other, with its subject's statistics."""
    from textualize.store import Corpus

    rows = sum(len(r.tracks["aus"].values) for r in Corpus(folder).stream())
    return f"{rows} rows of tracks"


def checking(folder: Path) -> str:
    """Run the whole of `corpus check`."""
    from textualize.corpus.check import check_source
    from textualize.corpus.opening import open_source

    report = check_source(open_source(folder))
    return f"{report.clips} clips, {len(report.findings)} findings"


def folding(folder: Path) -> str:
    """Make five grouped folds."""
    from textualize.corpus.opening import open_source
    from textualize.datasets.folds import grouped_folds

    return f"{len(grouped_folds(open_source(folder).labelled(), 5))} folds"


STEPS = {f.__name__: f for f in (opening, listing, filtering, streaming, checking, folding)}


def corpus(clips: int = CLIPS) -> None:
    """Print seconds and peak memory of every step on a generated corpus."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "corpus"
        begun = time.perf_counter()
        generate(folder, clips)
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20
        print(f"generated {clips} records in {time.perf_counter() - begun:.1f} s, {size:.0f} MiB")
        for step in STEPS:
            done = subprocess.run(
                [sys.executable, __file__, step, str(folder)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            print(done.stdout.strip(), flush=True)


def one(step: str, folder: Path) -> None:
    """Run one step and print what it took."""
    begun = time.perf_counter()
    said = STEPS[step](folder)
    seconds = time.perf_counter() - begun
    status = Path("/proc/self/status").read_text()  # getrusage counts the parent's peak too
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"{step}: {seconds:.2f} s, peak {peak:.0f} MiB ({said})")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        one(sys.argv[1], Path(sys.argv[2]))
    else:
        corpus(int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS)
