"""The model card of a run: what it is, what it learned from, how well, and what it is not for.

Everything on it is read from the run folder, so that a card can be checked against its files.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from textualize.datasets.meld import KNOWN_BAD, SPLITS
from textualize.evaluate.compare import cluster_bootstrap
from textualize.evaluate.metrics import UNPARSED, ccc, mae, pcc, per_class, rmse
from textualize.files import read_json
from textualize.methods import METHODS
from textualize.weights.table import WEIGHTS, Weights

if TYPE_CHECKING:
    from textualize.finetune.run_folder import RunFolder

_MELD_ID = re.compile(r"(train|validation|test)_dia\d+_utt\d+")
_MELD = (
    "MELD is a television comedy: scripted lines, spoken by professional actors, a few of whom "
    "have most of the lines and appear in every part. Its parts share no dialogue, but they share "
    "actors and episodes. A score on it says little about people who are not acting"
)
_LIMITS = """\
It predicts the emotion *expressed as annotated in {corpus}*, not what a person feels; faces, voices
and words do not reliably reveal that. It is meant for research on such corpora: comparing models,
finding where words and features differ.

- Use it on recordings of people only with their consent.
- Not for decisions about people. Inferring emotions from faces or voices is prohibited at work and
  in education in the EU (AI Act, Art. 5(1)(f)); wording them first does not change that.
- Classes, language, culture and recording of {corpus} limit where the score holds; score every
  group of people apart before believing it elsewhere.
"""
_FUTURE = """\
- It reads what is said *after* a clip, so it cannot answer while a dialogue goes on, and its score
  does not compare with one of a model that reads the past alone.
"""


def model_card(run: RunFolder, environment: Mapping[str, Any]) -> str:
    """Return the card of a trained run as Markdown; `environment` is about to be environment.json.

    Raises:
        TextualizeError: a file of the run folder is damaged.
    """
    recipe, summary = run.recipe_values, environment["summary"]
    splits = read_json(run.path / "splits.json", "splits")
    corpus = f"the corpus '{splits['corpus']}'" if splits.get("corpus") else "its training corpus"
    notes = [*environment["notes"], *sensor_notes(splits), *about_corpus(run.labels.name, splits)]
    parts = (
        f"# {recipe['method']}\n",
        "\n".join(_facts(run, recipe, splits, summary, environment["minutes"])),
        "\n## On the validation part\n",
        _numbers(run, str(recipe["select"]), summary)
        if f"validation {recipe['select']}" in summary and recipe.get("task") == "values"
        else _validation(run, str(recipe["select"])),
        "\n## Leaks, substitutions, truncations\n",
        "\n".join(f"- {n}" for n in notes) or "- none",
        "\n## Intended use and limits\n",
        _LIMITS.format(corpus=corpus) + (_FUTURE if recipe.get("future_turns") else ""),
        "## Loading\n",
        f"```python\n{loading(run.path, recipe, summary.get('revision'))}```\n",
        "## Recipe\n",
        f"```yaml\n{yaml.safe_dump(recipe, sort_keys=False)}```\n",
    )
    return "\n".join(parts)


def _facts(
    run: RunFolder,
    recipe: Mapping[str, Any],
    splits: Mapping[str, Any],
    summary: Mapping[str, Any],
    minutes: float,
) -> list[str]:
    facts: dict[str, Any] = {
        "method": METHODS[str(recipe["method"])].about,
        "corpus": splits.get("corpus") or "not named",
        "labels": "numbers"
        if run.labels.numeric
        else f"{', '.join(run.labels.labels)} (label set {run.labels.name})",
    }
    if "model" in recipe:
        facts |= _base(recipe, summary)
    facts |= {k: v for k, v in summary.items() if k not in ("model", "revision", "prompt digest")}
    stored = run.path / "prompt" / "prompt.json"
    if stored.is_file():
        prompt = read_json(stored, "prompt of the run")
        facts["prompt template"] = f"{prompt['name']}, modalities {prompt['modalities']}"
        facts["template digest"] = prompt["digest"][:16]
        if prompt.get("reads beyond the clip"):  # not kept by runs from before it
            facts["reads beyond the clip"] = prompt["reads beyond the clip"]
    read = "they leak, see below" if splits.get("leaks") else "not read"
    facts |= {
        "train clips": len(splits["train"]),
        "validation clips": len(splits["validation"]),
        f"test clips ({read})": len(splits["test"]),
        "split digest": splits["digest"][:16],
        "selected by": _selected_by(recipe),
        "seed": recipe["seed"],
        "minutes": minutes,
    }
    return ["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in facts.items())]


def _selected_by(recipe: Mapping[str, Any]) -> str:
    if recipe.get("choose") == "information":
        return "what the answers tell of the unlabelled clips apart"
    if recipe.get("choose") == "oracle":
        return "oracle: labels of the person adapted to, which no fair method has"
    return f"the best validation {recipe['select']}"


def _base(recipe: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    name = str(recipe["model"])
    if name == "scratch":
        return {"base model": summary.get("model", "none"), "licence of the base": "none needed"}
    row = _row_of(name)
    revision = recipe.get("revision") or summary.get("revision")
    said = "a local folder" if Path(name).is_dir() else "not recorded"
    known = "see the model's page" if said == "not recorded" else "see where the folder is from"
    return {
        "base model": name if row is None or row.source == name else f"{name} ({row.source})",
        "revision": revision or ("in an ordinary package" if name == "minilm" else said),
        "licence of the base": row.licence if row else known,
        **({"notice of the base": row.notice} if row and row.notice else {}),
    }


def _row_of(model: str) -> Weights | None:
    return next((row for row in WEIGHTS.values() if model in (row.source, row.name)), None)


# --- how well -----------------------------------------------------------------------------------


def _validation(run: RunFolder, select: str) -> str:
    """Return the selected score with its interval over groups, and the scores of every class."""
    if not (run.path / "validation.jsonl").is_file():
        return "The answers on the validation part were not kept.\n"
    labels = run.labels
    true, said, groups = _answers(run)
    if not true:
        return "There was no validation part.\n"
    found = cluster_bootstrap(true, said, groups, select, n_classes=len(labels))
    interval = (
        f" [{found.low:.3f}, {found.high:.3f}], 95 % interval over {found.groups} groups"
        + (" (few, so it is too narrow)" if found.few_groups else "")
        if found.groups > 1
        else ", without an interval: all clips are of one group"
    )
    rows = [
        f"| {name} | {c.precision:.3f} | {c.recall:.3f} | {c.f1:.3f} | {c.support} |"
        for name, c in zip(labels.labels, per_class(true, said, len(labels)), strict=True)
    ]
    head = ["| class | precision | recall | F1 | examples |", "|---|---|---|---|---|"]
    return "\n".join(
        [
            f"{select} {found.value:.3f}{interval}. Choices were made on these {len(true)} "
            "examples, so the score is optimistic; an honest one is that of the test part "
            "(`textualize evaluate`).",
            "",
            *head,
            *rows,
            "",
        ]
    )


def _numbers(run: RunFolder, select: str, summary: Mapping[str, Any]) -> str:
    """Return the scores of a run that predicts values: of the clips, or of all annotated steps."""
    lines = run.validation()
    if not lines:
        return (
            f"{select} {summary[f'validation {select}']:.3f} over all annotated steps of the "
            "validation clips, before any smoothing. Choices were made on these, so the score is "
            "optimistic.\n"
        )
    said, true = ([float(x[key]) for x in lines] for key in ("label", "true"))
    groups = [x["group"] for x in lines]
    found = cluster_bootstrap(true, said, groups, "mae", n_classes=0)
    few = " (few, so it is too narrow)" if found.few_groups else ""
    middle = sum(true) / len(true)
    agreement = ", ".join(f"{m.__name__.upper()} {m(said, true):.3f}" for m in (ccc, pcc, rmse))
    return (
        f"MAE {found.value:.3f} [{found.low:.3f}, {found.high:.3f}], 95 % interval over "
        f"{found.groups} groups{few}; {agreement}, on {len(lines)} clips. Always saying their mean "
        f"has MAE {mae([middle] * len(true), true):.3f}. Choices were made on these clips, so the "
        "scores are optimistic; honest ones are those of the test part (`textualize evaluate`).\n"
    )


def _answers(run: RunFolder) -> tuple[list[int], list[int], list[str]]:
    """Return (true class, answered class, group) of every kept validation answer."""
    index = run.labels.index
    kept = [
        (index(x["true"]), UNPARSED if x["label"] is None else index(x["label"]), x["group"])
        for x in run.validation()
    ]
    return [k[0] for k in kept], [k[1] for k in kept], [k[2] for k in kept]


# --- several seeds ------------------------------------------------------------------------------


def seeds_card(runs: Sequence[RunFolder], select: str) -> str:
    """Return the card of one training by several seeds: their scores, and how far they differ.

    Raises:
        TextualizeError: a run is unfinished or a file of it is damaged.
    """
    key = f"validation {select}"
    scores = [float(run.environment["summary"][key]) for run in runs]
    first = runs[0]
    splits = read_json(first.path / "splits.json", "splits")
    mean = statistics.fmean(scores)
    spread = f" ± {statistics.stdev(scores):.3f} (standard deviation)" if len(runs) > 1 else ""
    lines = [
        f"# {first.recipe_values['method']}, {len(runs)} seeds",
        "",
        f"{key}: {mean:.3f}{spread}. Seeds differ in what they draw at random, on the same clips; "
        "what other clips would change is in the intervals of each run's own card. Every run was "
        f"selected by its best {key}, so all scores are optimistic.",
        "",
        f"| run | {key} |",
        "|---|---|",
        *(
            f"| [{run.path.name}]({run.path.name}/README.md) | {score:.3f} |"
            for run, score in zip(runs, scores, strict=True)
        ),
        "",
        f"Corpus: {splits.get('corpus') or 'not named'}; split digest {splits['digest'][:16]}.",
    ]
    names = first.labels.labels
    answered = [] if first.labels.numeric else [_answers(run) for run in runs]
    if answered and all(true for true, _, _ in answered):
        each = [[c.f1 for c in per_class(true, said, len(names))] for true, said, _ in answered]
        lines += ["", "| class | mean F1 | lowest | highest |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {statistics.fmean(f1):.3f} | {min(f1):.3f} | {max(f1):.3f} |"
            for name, f1 in zip(names, zip(*each, strict=True), strict=True)
        ]
    return "\n".join([*lines, ""])


# --- what it learned from -----------------------------------------------------------------------


def sensor_notes(splits: Mapping[str, Any]) -> list[str]:
    """Return one line for each sense that failed or was not measured in clips it learned from."""
    states: Mapping[str, Mapping[str, int]] = splits.get("states", {})
    return [
        f"{sense}: {states[sense][state]} of {sum(states[sense].values())} train and validation "
        f"clips {said}"
        for sense in states
        for state, said in (("failed", "could not be measured"), ("not_run", "were not measured"))
        if states[sense].get(state)
    ]


def about_corpus(label_set: str, splits: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what a reader must know of the corpus itself; nothing for one we do not know.

    MELD is told by its label set and its clips' ids.
    """
    ids = {i.split("#")[0] for part in ("train", "validation", "test") for i in splits[part]}
    if label_set != "meld7" or not ids or not all(_MELD_ID.fullmatch(i) for i in ids):
        return []
    bad = {f"{SPLITS[s]}_dia{d}_utt{u}": known for (s, d, u), known in KNOWN_BAD.items()}
    kept = sorted(ids & bad.keys())
    told = [f"{name}: {bad[name].problem}; its text was read, its video never" for name in kept]
    if not kept:
        told = ["none of MELD's videos known to be bad is among its clips"]
    return [_MELD, *told]


# --- how to load it -----------------------------------------------------------------------------


def loading(run: Path, recipe: Mapping[str, Any], revision: str | None = None) -> str:
    """Return Python that loads the run: with transformers and peft alone where it is theirs."""
    ours = 'from textualize.methods import load\n\nmethod = load("RUN")  # this folder\n'
    if recipe["method"] not in ("text-encoder", "text-llm"):
        return ours
    auto = "AutoModelForCausalLM" if recipe["method"] == "text-llm" else "AutoModel"
    if (run / "adapter").is_dir():
        lines = _adapted(auto, recipe, recipe.get("revision") or revision)
    else:
        lines = [
            f"from transformers import AutoTokenizer, {auto}",
            "",
            f'net = {auto}.from_pretrained("RUN/model", dtype="{recipe["dtype"]}").eval()',
            'tokenizer = AutoTokenizer.from_pretrained("RUN/model")',
        ]
    if recipe["method"] == "text-encoder":
        lines += [line.format(pooled=_POOLED[str(recipe["pooling"])]) for line in _HEAD]
    return "\n".join([*lines, "", "# or, with prompts, limits and decisions as in training:", ours])


def _adapted(auto: str, recipe: Mapping[str, Any], revision: str | None) -> list[str]:
    row = _row_of(str(recipe["model"]))
    options = [f'"{row.source if row else recipe["model"]}"', f'dtype="{recipe["dtype"]}"']
    options += [f'revision="{revision}"'] if revision else []
    quantised = _QUANTISED.get(str(recipe["quantization"]), [])
    options += ["quantization_config=quantised"] if quantised else []
    return [
        "from peft import PeftModel",
        f"from transformers import AutoTokenizer, {auto}",
        "",
        *quantised,
        f"base = {auto}.from_pretrained({', '.join(options)})",
        'net = PeftModel.from_pretrained(base, "RUN/adapter").eval()',
        'tokenizer = AutoTokenizer.from_pretrained("RUN/adapter")',
    ]


_QUANTISED = {
    "nf4": [
        "from transformers import BitsAndBytesConfig",
        "",
        "quantised = BitsAndBytesConfig(",
        '    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,',
        '    bnb_4bit_compute_dtype="bfloat16",',
        ")",
    ],
    "int8": [
        "from transformers import BitsAndBytesConfig",
        "",
        "quantised = BitsAndBytesConfig(load_in_8bit=True)",
    ],
}
_POOLED = {
    "mean": "hidden.mean(0)",
    "cls": "hidden[0]",
    "last": "hidden[-1]",
    "last_line": 'hidden[read.char_to_token(text.rfind("\\n") + 1) :].mean(0)',
}
_HEAD = (
    "",
    "# the head stands beside it: pooled hidden states, brought to unit variance, to logits",
    "from safetensors.torch import load_file",
    "from torch.nn.functional import layer_norm, linear",
    "",
    'head = load_file("RUN/head.safetensors")',
    "",
    "",
    "def logits(text):",
    '    read = tokenizer(text, return_tensors="pt")',
    "    hidden = net(**read).last_hidden_state[0].float()",
    "    pooled = {pooled}",
    '    return linear(layer_norm(pooled, pooled.shape), head["weight"], head["bias"])',
)
