"""`textualize corpus`: each command is a thin function over the module of its name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

app = typer.Typer(
    name="corpus",
    help="Check, show and split a corpus; take it elsewhere; bring in what was read elsewhere.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
# a pipe has no width: tables must not wrap at 80 columns there
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True, highlight=False, soft_wrap=True)

SourceArgument = Annotated[
    Path, typer.Argument(help="Corpus folder, manifest, folder of media, or a dataset's root.")
]
CorpusArgument = Annotated[Path, typer.Argument(help="Corpus folder.")]
DatasetOption = Annotated[
    str | None, typer.Option(help="Read SOURCE as a known corpus: meld, ravdess, …")
]
LabelsOption = Annotated[
    str | None, typer.Option(help="Label set every label must belong to, e.g. compound7.")
]
DatasetOptions = Annotated[
    list[str] | None, typer.Option("--dataset-option", help="key=value for the dataset's loader.")
]
ColumnsOption = Annotated[
    Path | None, typer.Option("--columns", help="YAML that maps a manifest's columns to ours.")
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where", help="key=value, e.g. label=fear, split=test; one key twice: either value."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.command(
    epilog="Example: textualize corpus check MELD --dataset meld   ·   textualize corpus check "
    "corpora/mine"
)
def check(
    source: SourceArgument,
    dataset: DatasetOption = None,
    labels: LabelsOption = None,
    columns: ColumnsOption = None,
    dataset_options: DatasetOptions = None,
    max_seconds: Annotated[
        float, typer.Option(min=0, help="Longer clips are reported as too long.")
    ] = 60.0,
    accuracy: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Accuracy the sampling noise is told for.")
    ] = 0.68,
    read_media: Annotated[
        bool, typer.Option("--media/--no-media", help="Open media files and compare their content.")
    ] = True,
    as_json: JsonOption = False,
) -> int:
    """Report what is wrong in a corpus or its splits; exit code 2 when a comparison would break."""
    from textualize.console import options_of, progress_bar
    from textualize.corpus.check import check_source, print_report
    from textualize.corpus.opening import open_source

    opened = open_source(source, dataset, labels, columns, options_of(dataset_options))
    with progress_bar("check", quiet=as_json) as step:
        report = check_source(
            opened,
            max_seconds=max_seconds,
            accuracy=accuracy,
            read_media=read_media,
            progress=step,
        )
    if as_json:
        print(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        print_report(report, out)
    return 2 if report.errors else 0


@app.command(
    epilog="Example: textualize corpus show corpora/mine --where label=fear --where split=test   "
    "·   textualize corpus show corpora/mine --clip a01"
)
def show(
    corpus: CorpusArgument,
    clip: Annotated[str | None, typer.Option(help="One clip, with all that is known.")] = None,
    where: WhereOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most N clips.")] = 20,
    as_json: JsonOption = False,
) -> int:
    """List a corpus' clips, or one clip with its tracks, words, cues and sensors."""
    from textualize.corpus.show import clip_rows, print_clip, print_rows, show_clip
    from textualize.store import Corpus

    opened = Corpus(corpus)
    if clip is not None:
        shown = show_clip(opened, clip)
        if as_json:
            print(json.dumps(shown.to_json(), ensure_ascii=False))
        else:
            print_clip(shown, out)
        return 0
    found = clip_rows(opened, where or (), limit)
    if as_json:
        for row in found:
            print(json.dumps(row.to_json(), ensure_ascii=False))
    else:
        print_rows(found, out)
    return 0


@app.command(
    epilog="Example: textualize corpus split corpora/mine --folds 5 --out folds.json   ·   "
    "textualize train concat --corpus corpora/mine --folds folds.json --fold 2 --out runs/two"
)
def split(
    source: SourceArgument,
    out_file: Annotated[Path, typer.Option("--out", help="JSON file to write.")],
    folds: Annotated[
        str,
        typer.Option(
            help="A number (grouped and stratified), 'loso' (each subject in turn), 'published', "
            "or a file of folds."
        ),
    ] = "4",
    dataset: DatasetOption = None,
    labels: LabelsOption = None,
    columns: ColumnsOption = None,
    dataset_options: DatasetOptions = None,
    test: Annotated[str, typer.Option(help="With 'published': the split reported on.")] = "test",
    seed: Annotated[int, typer.Option(help="Another assignment of the groups.")] = 0,
    as_json: JsonOption = False,
) -> int:
    """Write folds to a file that training and suites read; print how balanced they are."""
    from textualize.console import options_of
    from textualize.corpus.opening import open_source
    from textualize.corpus.split import print_split, split_source

    opened = open_source(source, dataset, labels, columns, options_of(dataset_options))
    made = split_source(opened, folds, out_file, test=test, seed=seed)
    if as_json:
        print(json.dumps(made.to_json(), ensure_ascii=False))
    else:
        print_split(made, out)
    return 0


@app.command(
    "import",
    epilog="Example: textualize corpus import openface au/ -o corpora/mine   ·   textualize corpus "
    "import opensmile egemaps.csv -o corpora/mine --match 'take-{id}'   ·   textualize corpus "
    "import fex faces/ -o corpora/new --option fps=25",
)
def import_(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="openface, fex (py-feat), opensmile, hume, hume-transcript, transcript (SRT, VTT, "
            "Whisper JSON, text), rttm, elan, elan-ratings, features-visual, features-audio, "
            "features-text.",
        ),
    ],
    path: Annotated[
        Path, typer.Argument(help="Folder with one file a clip, or one file with a row a clip.")
    ],
    corpus: Annotated[Path, typer.Option("--corpus", "-o", help="Corpus folder to complete.")],
    clips: Annotated[
        Path | None,
        typer.Option(
            help="Where the clips come from, as for extract: media, a manifest, a root. Default: "
            "the corpus' own; a clip per file where it has none."
        ),
    ] = None,
    dataset: DatasetOption = None,
    match: Annotated[
        str,
        typer.Option(
            help="What a clip's file or row is called: '{id}.csv', 'take-{id:3:}', '{stem}', "
            "'{subject}', '{group}'. Default: the clip's id, or its video's name."
        ),
    ] = "",
    option: Annotated[
        list[str] | None, typer.Option("--option", help="key=value for the sensor, e.g. fps=25.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; 0 reads in the command's own.")
    ] = 0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what is in quarantine.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Bring in what was extracted elsewhere; the corpus' other modalities stay as they are."""
    from textualize.console import options_of, progress_bar
    from textualize.corpus.importing import import_files, print_import
    from textualize.datasets.sources import listing_of

    with progress_bar("import", quiet=as_json) as step:
        made = import_files(
            format_name,
            path,
            corpus,
            listing=listing_of([clips], dataset) if clips else None,
            match=match,
            options=options_of(option),
            workers=workers,
            retry_failed=retry_failed,
            progress=step,
        )
    return print_import(made, out, err, as_json=as_json)


@app.command(
    epilog="Example: textualize corpus export corpora/mine --format hf --folds 5 --out exports/mine"
    "   ·   textualize corpus export corpora/mine --format csv --share --mask-names --out shared"
)
def export(
    corpus: CorpusArgument,
    format_name: Annotated[
        str,
        typer.Option(
            "--format",
            help="hf, trl, sharegpt, alpaca, csv, rttm, srt, vtt, elan, eaf or frames.",
        ),
    ],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    template: Annotated[str, typer.Option(help="Shipped name or a .jinja file.")] = "compound",
    modalities: Annotated[
        str, typer.Option(help="Letters of T (transcript), V (face), A (voice).")
    ] = "TVA",
    turns: Annotated[int, typer.Option(min=0, help="Previous dialogue turns in the prompt.")] = 0,
    wording: Annotated[
        Literal["terse", "sentences", "graded"],
        typer.Option(help="Face and voice as a list, sentences, or rungs from the usual."),
    ] = "terse",
    system: Annotated[str, typer.Option(help="System text of chats.")] = "",
    style: Annotated[
        Literal["messages", "prompt-completion"], typer.Option(help="Rows of --format trl.")
    ] = "messages",
    folds: Annotated[
        str | None,
        typer.Option(help="As for split; default: the corpus' own splits, else all as 'train'."),
    ] = None,
    fold: Annotated[int, typer.Option(min=1, help="Which of the folds.")] = 1,
    test: Annotated[str, typer.Option(help="With 'published': the split reported on.")] = "test",
    seed: Annotated[int, typer.Option(help="Another assignment of the groups.")] = 0,
    predictions: Annotated[
        Path | None, typer.Option(help="predictions.jsonl of a run, as columns of hf and csv.")
    ] = None,
    escape_formulas: Annotated[
        bool, typer.Option("--escape-formulas", help="csv: ' before what a spreadsheet would run.")
    ] = False,
    share: Annotated[
        bool, typer.Option("--share", help="Without ids, paths, names or times in the source.")
    ] = False,
    mask_names: Annotated[
        bool, typer.Option("--mask-names", help="With --share: mask people's names in the words.")
    ] = False,
    names: Annotated[
        Path | None, typer.Option(help="With --mask-names: a file of further names, one a line.")
    ] = None,
    no_transcript: Annotated[
        bool, typer.Option("--no-transcript", help="With --share: leave the words out.")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(help="With --share: the private key, made if missing. Default: OUT.key.json"),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Write the clips in words as other tools read them, or as they can be published."""
    from textualize.console import progress_bar
    from textualize.corpus.export import Request, export_corpus, print_export
    from textualize.corpus.share import share_options
    from textualize.store import Corpus

    request = Request(
        format_name,
        template=template,
        modalities=modalities,
        turns=turns,
        wording=wording,
        system=system,
        style=style,
        folds=folds,
        fold=fold,
        test=test,
        seed=seed,
        predictions=predictions,
        escape_formulas=escape_formulas,
        share=share_options(
            out_folder, share, key=key, mask=mask_names, names=names, transcript=not no_transcript
        ),
    )
    with progress_bar("export", quiet=as_json) as step:
        made = export_corpus(Corpus(corpus), out_folder, request, step)
    if as_json:
        print(json.dumps(made.to_json(), ensure_ascii=False))
    else:
        print_export(made, out)
    return 0
