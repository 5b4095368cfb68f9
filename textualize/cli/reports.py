"""Methods beside one another: evaluate, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from textualize.cli.options import JsonOption, err, out
from textualize.errors import TextualizeError

app = typer.Typer()


@app.command(
    epilog="Example: textualize evaluate demo --corpus corpora/demo   ·   textualize evaluate "
    "runs/enc runs/jca --corpus corpora/mine --out reports/mine"
)
def evaluate(
    what: Annotated[
        list[str], typer.Argument(help="One suite (shipped name or .yaml), or run folders.")
    ],
    corpus: Annotated[
        Path | None, typer.Option(help="Corpus folder; not for a suite that makes its own.")
    ] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Report folder (default reports/NAME).")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Where a suite's runs go (default runs/NAME).")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="With run folders: 'test' (their own test part) or a split.")
    ] = None,
    intersect: Annotated[
        bool, typer.Option(help="Allow different clip sets; compare what they share.")
    ] = False,
    explained: Annotated[
        list[str] | None,
        typer.Option(
            "--explain",
            metavar="CLIP",
            help="With run folders: say on this clip's page what answers rest on; repeatable.",
        ),
    ] = None,
    open_test: Annotated[
        bool,
        typer.Option(
            "--open-test",
            help="Report on the corpus' own test split, and write down that it was opened; "
            "without it the report is of validation.",
        ),
    ] = False,
    compounds: Annotated[
        str,
        typer.Option(
            help="With run folders: how a run trained on basic emotions scores a compound: "
            "'product' or 'min' of its pair."
        ),
    ] = "product",
    as_json: JsonOption = False,
) -> int:
    """Compare text with features on the same clips and write a report."""
    from textualize.console import evaluation_summary, prompts_summary, series_summary
    from textualize.evaluate.finished import evaluate as compare_runs
    from textualize.evaluate.finished import evaluation_records, run_names, seed_runs
    from textualize.evaluate.matrix import run_prompts
    from textualize.evaluate.series import answers_per_step
    from textualize.evaluate.settings import is_prompt_suite, load_prompt_suite
    from textualize.evaluate.suite import load_suite, run_suite, suite_corpus
    from textualize.labels import rule_named
    from textualize.store import Corpus

    folders = [Path(w) for w in what]
    if all(seed_runs(f) for f in folders):
        if corpus is None:
            raise TextualizeError("run folders are compared on a corpus: give --corpus")
        opened = Corpus(corpus)
        name = "-".join(name for _, name in run_names(folders))
        single = [run for folder in folders for run in seed_runs(folder)]
        if any(answers_per_step(run) for run in single):
            folder = out_folder or Path("reports") / name
            return series_summary(
                single, opened, split, folder, out, as_json=as_json, open_test=open_test
            )
        read = opened.records()
        done = compare_runs(
            folders,
            evaluation_records(read, folders, split, open_test=open_test),
            out=out_folder or Path("reports") / name,
            labels=opened.labels,
            intersect=intersect,
            explained=explained or (),
            corpus=opened,
            read=read,
            open_test=open_test,
            rule=rule_named(compounds),
        )
    elif explained:
        raise TextualizeError("--explain goes with run folders: give those of the suite's fold")
    elif len(what) == 1:
        name = Path(what[0]).stem
        where = runs or Path("runs") / name
        if is_prompt_suite(what[0]):
            if corpus is None:
                raise TextualizeError("prompts are tried on a corpus: give --corpus")
            tried = run_prompts(
                load_prompt_suite(what[0]),
                Corpus(corpus),
                where,
                out_folder or Path("reports") / name,
                open_test=open_test,
                say=lambda line: err.print(line, markup=False),
            )
            return prompts_summary(tried, out, as_json=as_json)
        suite = load_suite(what[0])
        done = run_suite(
            suite,
            suite_corpus(suite, corpus, where),
            where,
            out_folder or Path("reports") / name,
            open_test=open_test,
            say=lambda line: err.print(line, markup=False),
        )
    else:
        missing = [str(f) for f in folders if not seed_runs(f)]
        raise TextualizeError(f"not a run folder: {missing[0]}")
    return evaluation_summary(done, out, as_json=as_json)


@app.command(epilog="Example: textualize verify reports/demo")
def verify(
    report: Annotated[Path, typer.Argument(help="Report folder.")],
    as_json: JsonOption = False,
) -> int:
    """Recompute every number of a report from its predictions."""
    from textualize.evaluate.verify import verify_report

    checked = verify_report(report)
    if as_json:
        print(json.dumps(checked.to_json()))
    else:
        out.print(checked.line(), markup=False)
    return 0 if checked.equal else 2
