"""`textualize demo`: the whole path on the shipped clips, on this machine, offline."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from textualize.console import evaluation_summary, extraction_summary, progress_bar
from textualize.datasets import load_dataset
from textualize.demo.check import check_sensors
from textualize.errors import TextualizeError
from textualize.evaluate.suite import Suite, load_suite, run_suite
from textualize.methods import METHODS, entry, resolve
from textualize.prompt import render
from textualize.store import Corpus

SHIPPED = Path(__file__).parent / "corpus"  # some clips, already extracted
SHOWN_CLIP = 0


def run_demo(folder: Path, *, quick: bool, workers: int | None, out: Console, err: Console) -> int:
    """Extract, show a prompt, train, compare, report; return the exit code.

    With `quick` the shipped extracted clips are used instead of running the sensors, and methods
    whose packages are missing are left out; both are said on the way.
    """
    begun = time.monotonic()
    if quick:
        out.print(f"quick: no sensor runs; the clips in {SHIPPED} were extracted before shipping")
        corpus, suite = Corpus(SHIPPED), _installed(load_suite("demo-quick"), out)
    else:
        corpus, suite = _extracted(folder / "corpus", workers, out, err), load_suite("demo")
    first = corpus.records()[SHOWN_CLIP]
    out.rule(f"what the language model reads ({first.clip.id})", align="left", style="dim")
    out.print(render(first, suite.template).text, markup=False)
    out.rule(style="dim")
    done = run_suite(
        suite,
        corpus,
        folder / ("runs-quick" if quick else "runs"),
        folder / ("report-quick" if quick else "report"),
        say=lambda line: err.print(line, markup=False),
    )
    code = evaluation_summary(done, out, as_json=False)
    out.print(f"{time.monotonic() - begun:.0f} s; {done.trained} trained, {done.reused} reused")
    return code


def _extracted(folder: Path, workers: int | None, out: Console, err: Console) -> Corpus:
    from textualize.extract.pipeline import extract_corpus

    listing = load_dataset("demo", "")
    with progress_bar("extract") as step:
        outcome = extract_corpus(
            listing.clips,
            folder,
            labels=listing.labels,
            workers=workers,
            earlier_failures=listing.failures,
            progress=step,
        )
    if extraction_summary(outcome, out, err, as_json=False):
        raise TextualizeError("the demo clips could not all be read: see the lines above")
    for line in check_sensors(outcome.corpus).lines():
        out.print(line, markup=False)
    return outcome.corpus


def _installed(suite: Suite, out: Console) -> Suite:
    """Return the suite without the methods whose packages are missing, saying which."""
    kept = []
    for name in suite.methods:
        method = name if name in METHODS else "text-encoder"
        try:
            resolve(entry(method).train, method)
        except TextualizeError as error:
            out.print(f"left out: {error}", markup=False)
            continue
        kept.append(name)
    return suite.model_copy(update={"methods": kept})
