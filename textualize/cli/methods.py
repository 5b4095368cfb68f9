"""Words or features to emotions, one method: train, predict, explain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from textualize.cli.options import CorpusOption, JsonOption, err, out
from textualize.errors import TextualizeError

if TYPE_CHECKING:
    from textualize.types import Prediction, Record

app = typer.Typer()


@app.command(
    epilog="Example: textualize train text-encoder --corpus corpora/mine --out runs/enc "
    "--set lora.r=16"
)
def train(
    recipe: Annotated[str, typer.Argument(help="Shipped recipe or a .yaml file.")],
    corpus: CorpusOption,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder.")],
    folds: Annotated[
        str | None,
        typer.Option(
            help="A number of grouped folds, 'loso', 'subjects' (adapt to each in turn), "
            "'published', or a file of `corpus split`; by default the corpus' own splits."
        ),
    ] = None,
    fold: Annotated[int, typer.Option(min=1, help="Which of the folds, from 1.")] = 1,
    test: Annotated[str, typer.Option(help="With own splits: the split never read.")] = "test",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value on top of the recipe.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed on top of the recipe.")] = None,
) -> int:
    """Train one method on a corpus; every choice is made on validation clips."""
    from textualize.console import training_summary
    from textualize.datasets.folds import chosen_fold
    from textualize.datasets.published import PUBLISHED
    from textualize.finetune.recipe import load_recipe
    from textualize.finetune.train import annotated, train_seeds
    from textualize.store import Corpus

    extra = [*(settings or ()), *([f"seed={seed}"] if seed is not None else [])]
    loaded = load_recipe(recipe, extra)
    opened = Corpus(corpus)
    every = opened.records()
    records, clips = annotated(loaded, every)
    part = chosen_fold(clips, folds, fold, test, published=opened.folder / PUBLISHED)
    runs = train_seeds(
        loaded,
        [records[i] for i in part.train],
        [records[i] for i in part.validation],
        out_folder,
        labels=opened.labels,
        test=part.test,
        leaks=part.leaks,
        corpus=opened.folder.resolve().name,
        unlabelled=[records[i] for i in part.unlabelled]
        or [r for r in every if r.clip.label is None],
    )
    training_summary(runs, str(runs[0].recipe_values["select"]), out)
    return 0


@app.command(
    epilog="Example: textualize predict runs/enc --corpus corpora/mine --out answers.jsonl   ·   "
    "textualize predict runs/llm --corpus corpora/mine --server http://127.0.0.1:8000   ·   "
    "textualize predict runs/llm --corpus corpora/mine --ray auto"
)
def predict(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    corpus: CorpusOption,
    clip: Annotated[str | None, typer.Option(help="One clip; by default all.")] = None,
    out_file: Annotated[Path | None, typer.Option("--out", help="Write JSONL there.")] = None,
    server: Annotated[
        str | None,
        typer.Option(help="Ask this server that has the run; the key is in TEXTUALIZE_API_KEY."),
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="Score on a Ray cluster: its address, or 'auto'.")
    ] = None,
    vllm: Annotated[
        Path | None,
        typer.Option(help="With --ray: score by vLLM, from this Python or environment's folder."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Predict a corpus' clips with a trained run; no label is needed or read."""
    from textualize.console import SHOWN, chosen_records, prediction_table
    from textualize.methods import load
    from textualize.predictions import prediction_json, write_predictions

    if server is not None and ray is not None:
        raise TextualizeError("a server and a Ray cluster cannot both be asked: give one of them")
    if vllm is not None and ray is None:
        raise TextualizeError("--vllm goes with --ray; to ask a running vLLM, give its --server")
    records = chosen_records(corpus, clip)
    if server is not None:
        from textualize.serve.client import asked_server

        answers = asked_server(server, run_folder, records, out_file)
    elif ray is not None:
        answers = _from_ray(ray, run_folder, records, vllm, out_file, quiet=as_json)
    else:
        answers = load(run_folder).predict(records)
    elsewhere = server is not None or ray is not None
    unanswered = [a for a in answers if a.label is None and a.series is None]
    for answer in unanswered[:SHOWN] if elsewhere else ():
        err.print(f"{answer.clip_id}: {answer.text}", markup=False)
    if elsewhere and len(unanswered) > SHOWN:
        err.print(f"and {len(unanswered) - SHOWN} more", markup=False)
    if out_file:
        write_predictions(out_file, answers)
        err.print(f"{len(answers)} predictions in {out_file}", markup=False)
    elif as_json:
        for answer in answers:
            print(json.dumps(prediction_json(answer), ensure_ascii=False))
    else:
        out.print(prediction_table(answers))
    return 2 if elsewhere and unanswered else 0


def _from_ray(
    address: str,
    run: Path,
    records: Sequence[Record],
    vllm: Path | None,
    out_file: Path | None,
    *,
    quiet: bool,
) -> list[Prediction]:
    """Return a cluster's answers; what is scored is kept beside `out_file` until all is."""
    from textualize.cli.serving import extra_serve
    from textualize.console import progress_bar

    with extra_serve("predict --ray"):
        from textualize.serve.on_ray import RayWork, predict_on_ray

    keep = out_file.with_name(f".{out_file.name}.ray.partial") if out_file else None
    with progress_bar("predict", quiet=quiet) as step:
        return predict_on_ray(run, records, RayWork(address, vllm, keep, step))


@app.command(
    epilog="Example: textualize explain runs/enc --corpus corpora/mine --clip a01   ·   "
    "textualize explain runs/faces --corpus corpora/mine --picture look.png --cam gradcam"
)
def explain(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    corpus: Annotated[Path | None, typer.Option(help="Corpus folder.")] = None,
    clip: Annotated[
        str | None,
        typer.Option(help="The clip; without it only --picture is made."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many to show.")] = 12,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw where an au-guided run looks on the face (of the clip, or of one of each "
            "label), or where in its videos a stochastic-softmax run came to look in training: "
            ".png, .svg or .pdf."
        ),
    ] = None,
    cam: Annotated[
        Literal["cam", "gradcam", "gradcam++", "layercam"],
        typer.Option(help="The class activation map in an au-guided run's picture."),
    ] = "cam",
    as_json: JsonOption = False,
) -> int:
    """Show what a prediction rests on: each cue is taken away in turn."""
    from textualize.console import chosen_records, explanation_table
    from textualize.explain import explain as explain_record
    from textualize.methods import load

    method = load(run_folder)
    if picture is not None:
        from textualize.baselines.run_picture import draw_run

        seen = [] if corpus is None else chosen_records(corpus, clip)
        shown = draw_run(run_folder, method, seen, picture, cam=cam, each_label=clip is None)
        err.print(f"{shown} in {picture}", markup=False)
        if clip is None:
            return 0
    found = explain_record(method, _one(corpus, clip))
    if as_json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        out.print(explanation_table(found, top))
    return 0


def _one(corpus: Path | None, clip: str | None) -> Record:
    """Return the record of the clip that is asked for."""
    from textualize.console import chosen_records

    if corpus is None or clip is None:
        raise TextualizeError("what is explained is one clip's answer: give --corpus and --clip")
    return chosen_records(corpus, clip)[0]
