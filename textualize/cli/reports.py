"""Methods beside one another: evaluate, verify."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textualize.cli.options import JsonOption, err, out
from textualize.errors import TextualizeError

if TYPE_CHECKING:
    from textualize.store import Corpus

app = typer.Typer()

# of run folders alone
SplitOption = Annotated[
    str | None, typer.Option(help="With run folders: 'test' (their own test part) or a split.")
]
IntersectOption = Annotated[
    bool, typer.Option(help="Allow different clip sets; compare what they share.")
]
ExplainOption = Annotated[
    list[str] | None,
    typer.Option(
        "--explain",
        metavar="CLIP",
        help="With run folders: say on this clip's page what answers rest on; repeatable.",
    ),
]
CompoundsOption = Annotated[
    str,
    typer.Option(
        help="With run folders: how a run trained on basic emotions scores a compound: "
        "'product' or 'min' of its pair."
    ),
]
# of every kind of evaluation
OpenTestOption = Annotated[
    bool,
    typer.Option(
        "--open-test",
        help="Report on the corpus' own test split, and write down that it was opened; "
        "without it the report is of validation.",
    ),
]
FacesOption = Annotated[
    bool,
    typer.Option("--faces", help="Put small pictures of the people recorded on the clips' pages."),
]


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
    split: SplitOption = None,
    intersect: IntersectOption = False,
    explained: ExplainOption = None,
    open_test: OpenTestOption = False,
    faces: FacesOption = False,
    compounds: CompoundsOption = "product",
    as_json: JsonOption = False,
) -> int:
    """Compare text with features on the same clips and write a report."""
    from textualize.evaluate.named_runs import run_names, seed_runs
    from textualize.evaluate.settings import is_prompt_suite

    folders = [Path(w) for w in what]
    missing = [str(f) for f in folders if not seed_runs(f)]
    if missing and len(what) > 1:
        raise TextualizeError(f"not a run folder: {missing[0]}")
    name = Path(what[0]).stem if missing else "-".join(name for _, name in run_names(folders))
    asked = _Asked(corpus, out_folder or Path("reports") / name, open_test, faces, as_json)
    if not missing:
        return _runs(folders, asked, split, explained or (), compounds, intersect=intersect)
    if explained:
        raise TextualizeError("--explain goes with run folders: give those of the suite's fold")
    where = runs or Path("runs") / name
    return (_prompts if is_prompt_suite(what[0]) else _suite)(what[0], where, asked)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every kind of evaluation is told."""

    corpus: Path | None
    out: Path
    open_test: bool
    faces: bool
    as_json: bool

    def needs_corpus(self, why: str) -> Corpus:
        from textualize.store import Corpus

        if self.corpus is None:
            raise TextualizeError(f"{why}: give --corpus")
        return Corpus(self.corpus)

    def shows_no_clip(self, what: str) -> None:
        if self.faces:
            raise TextualizeError(f"--faces is of pages with clips; a report of {what} has none")


def _say(line: str) -> None:
    err.print(line, markup=False)


def _runs(
    folders: Sequence[Path],
    asked: _Asked,
    split: str | None,
    explained: Sequence[str],
    compounds: str,
    *,
    intersect: bool,
) -> int:
    from textualize.console import evaluation_summary, series_summary
    from textualize.evaluate.finished import evaluate as compare_runs
    from textualize.evaluate.named_runs import evaluation_records, seed_runs
    from textualize.evaluate.series import answers_per_step
    from textualize.labels import rule_named

    corpus = asked.needs_corpus("run folders are compared on a corpus")
    single = [run for folder in folders for run in seed_runs(folder)]
    how = {"as_json": asked.as_json, "open_test": asked.open_test}
    if any(answers_per_step(run) for run in single):
        asked.shows_no_clip("runs that answer per step")
        return series_summary(single, corpus, split, asked.out, out, **how)
    read = corpus.records()
    done = compare_runs(
        folders,
        evaluation_records(read, folders, split, open_test=asked.open_test),
        out=asked.out,
        labels=corpus.labels,
        intersect=intersect,
        explained=explained,
        corpus=corpus,
        read=read,
        open_test=asked.open_test,
        rule=rule_named(compounds),
        faces=asked.faces,
    )
    return evaluation_summary(done, out, as_json=asked.as_json)


def _prompts(name: str, where: Path, asked: _Asked) -> int:
    from textualize.console import prompts_summary
    from textualize.evaluate.matrix import run_prompts
    from textualize.evaluate.settings import load_prompt_suite

    corpus = asked.needs_corpus("prompts are tried on a corpus")
    asked.shows_no_clip("prompts")
    suite = load_prompt_suite(name)
    tried = run_prompts(suite, corpus, where, asked.out, open_test=asked.open_test, say=_say)
    return prompts_summary(tried, out, as_json=asked.as_json)


def _suite(name: str, where: Path, asked: _Asked) -> int:
    from textualize.console import evaluation_summary
    from textualize.evaluate.suite import load_suite, run_suite, suite_corpus

    suite = load_suite(name)
    corpus = suite_corpus(suite, asked.corpus, where)
    how = {"open_test": asked.open_test, "faces": asked.faces}
    done = run_suite(suite, corpus, where, asked.out, **how, say=_say)
    return evaluation_summary(done, out, as_json=asked.as_json)


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
