"""Videos to words: extract, describe, render."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from textualize.cli.options import (
    ColumnsOption,
    DatasetOptions,
    JsonOption,
    NewCorpusOption,
    err,
    out,
)

app = typer.Typer()

SensorsOption = Annotated[
    str,
    typer.Option(
        help="'embedded', 'full', or sensors by comma; face=…, speech=… replace a preset's. "
        "Per modality the first that finds something is kept."
    ),
]
HwaccelOption = Annotated[
    str, typer.Option(help="Decode pictures on a device of FFmpeg's, e.g. cuda.")
]
RayOption = Annotated[
    str | None, typer.Option(help="Work on a Ray cluster: its address, or 'auto'.")
]


@app.command(
    epilog="Example: textualize extract media/ -o corpora/mine   ·   textualize extract "
    "clips.csv -o corpora/mine --sensors embedded,speech=whisper=/models/base"
)
def extract(
    source: Annotated[
        list[Path],
        typer.Argument(help="Media files, folders, one manifest (.csv .tsv .jsonl), or a root."),
    ],
    corpus: NewCorpusOption,
    dataset: Annotated[
        str | None, typer.Option(help="Read SOURCE as a known corpus: meld, ravdess, c-expr-db, …")
    ] = None,
    dataset_options: DatasetOptions = None,
    columns: ColumnsOption = None,
    sensors: SensorsOption = "embedded",
    labels: Annotated[
        str | None, typer.Option(help="Label set every label must belong to, e.g. compound7.")
    ] = None,
    fps: Annotated[float, typer.Option(help="Video frames read per second.")] = 12.5,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes (default: one per core).")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N clips.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what is in quarantine.")
    ] = False,
    max_failures: Annotated[
        int | None, typer.Option(min=0, help="Stop when more clips than this have failed.")
    ] = None,
    hwaccel: HwaccelOption = "",
    ray: RayOption = None,
    as_json: JsonOption = False,
) -> int:
    """Read videos, recordings and images into a corpus of tracks and transcripts."""
    from textualize.console import extraction_summary, options_of, progress_bar
    from textualize.datasets.published import keep_published
    from textualize.datasets.sources import listing_of
    from textualize.extract.pipeline import extract_corpus

    listing = listing_of(source, dataset, labels, columns, options_of(dataset_options))
    for note in listing.notes if not as_json else ():
        err.print(note, markup=False)
    with progress_bar("extract", quiet=as_json) as step:
        outcome = extract_corpus(
            listing.clips[:limit],
            corpus,
            sensors=sensors,
            labels=listing.labels,
            fps=fps,
            workers=workers,
            hwaccel=hwaccel,
            ray=ray,
            retry_failed=retry_failed,
            max_failures=max_failures,
            earlier_failures=listing.failures,
            progress=step,
        )
    if dataset:
        keep_published(dataset, source[0], listing.clips, corpus)
    return extraction_summary(outcome, out, err, as_json=as_json)


@app.command(epilog="Example: textualize describe corpora/mine --clip a01")
def describe(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder.")],
    clip: Annotated[str | None, typer.Option(help="One clip; by default all.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Print a clip's cues: one sentence each, with state, time and source."""
    from textualize.console import chosen_records, cue_table
    from textualize.describe import describe as cues_of

    for record in chosen_records(corpus, clip):
        cues = cues_of(record)
        if as_json:
            from dataclasses import asdict

            line = {"clip": record.clip.id, "cues": [asdict(c) for c in cues]}
            print(json.dumps(line, ensure_ascii=False))
        else:
            out.print(cue_table(record.clip.id, cues))
    return 0


@app.command(epilog="Example: textualize render corpora/mine --template compound --clip a01")
def render(
    corpus: Annotated[Path, typer.Argument(help="Corpus folder.")],
    template: Annotated[str, typer.Option(help="Shipped name or a .jinja file.")] = "compound",
    clip: Annotated[str | None, typer.Option(help="One clip; by default all.")] = None,
    modalities: Annotated[
        str, typer.Option(help="Letters of T (transcript), V (face), A (voice).")
    ] = "TVA",
    with_labels: Annotated[bool, typer.Option(help="List the labels, as causal models read.")] = (
        False
    ),
    wording: Annotated[
        Literal["terse", "sentences", "graded"],
        typer.Option(help="Face and voice as a list, sentences, or rungs from the usual."),
    ] = "terse",
    turns: Annotated[int, typer.Option(min=0, help="Earlier dialogue turns in the prompt.")] = 0,
    context_s: Annotated[
        float,
        typer.Option(min=0, help="Instead: what the video file says in the seconds before a clip."),
    ] = 0.0,
    future_turns: Annotated[
        int, typer.Option(min=0, help="Later dialogue turns: reads the future.")
    ] = 0,
    as_json: JsonOption = False,
) -> int:
    """Print exactly what a language model will read."""
    from textualize.console import chosen_records
    from textualize.prompt import load_template, render_with
    from textualize.store import Corpus

    labels = Corpus(corpus).labels if with_labels else None
    loaded = load_template(
        template,
        modalities,
        register=wording,
        turns=turns,
        context_s=context_s,
        future_turns=future_turns,
    )
    for record in chosen_records(corpus, clip):
        prompt = render_with(loaded, record, labels=labels.labels if labels else ())
        if as_json:
            value = {"clip": prompt.clip_id, "text": prompt.text, "digest": prompt.digest}
            print(json.dumps(value, ensure_ascii=False))
        else:
            out.rule(prompt.clip_id, align="left", style="dim")
            out.print(prompt.text, markup=False)
    return 0
