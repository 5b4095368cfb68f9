"""Speed of a matrix of prompts against its cells one by one: `python tests/bench_prompts.py`.

Six templates by four sets of senses over clips of the demo's shipped corpus, answered by a small
random LLaMA whose head is a tenth of it, about as in one of 8B. Two peers, both with the network
loaded once: cell after cell and prompt after prompt, nothing shared; and cell after cell as a
recipe predicts, in batches that read their own common beginning once.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # also when it is not run as a script
from bench import ratio  # noqa: E402

TEMPLATES = ("words_first", "face_first", "voice_first", "asked", "facs", "script")
SENSES = ("TVA", "T", "TV", "TA")
CLIPS, TRAIN = 8, 40


def prompts() -> None:
    """The matrix, with demonstrations and without, and with three wordings of each question."""
    from textualize.demo.run import SHIPPED
    from textualize.store import Corpus

    corpus = Corpus(SHIPPED)
    records = [r for r in corpus.records() if r.clip.label is not None]
    asked, train = records[:CLIPS], records[CLIPS : CLIPS + TRAIN]
    method = _method(corpus.labels, train)
    for what, wordings, shots in (("", 1, 0), (", 3 wordings", 3, 0), (", 4 shots", 1, 4)):
        _matrix(what, method, asked, train, wordings, shots)


def _method(labels: Any, train: Sequence[Any]) -> Any:
    """Return an untrained text-llm with a tokenizer that has learned the training prompts."""
    import torch

    from textualize.finetune.recipe import Scratch, TextRecipe
    from textualize.text.causal import TextLLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    recipe = TextRecipe(
        method="text-llm", model="scratch", lora=None, max_tokens=2048,
        scratch=Scratch(hidden=256, layers=6, heads=8, vocabulary=2048),
    )  # fmt: skip
    made = TextLLM.build(recipe, labels, train)
    made.net.eval()
    return made


def _matrix(
    what: str, method: Any, asked: Sequence[Any], train: Sequence[Any], wordings: int, count: int
) -> None:
    from textualize.evaluate.prompted import LocalModel
    from textualize.evaluate.settings import Setting
    from textualize.finetune.recipe import Shots

    shots = Shots(count=count, by="balanced") if count else None
    axes = itertools.product(TEMPLATES, SENSES, range(1, wordings + 1))
    cells = [Setting(t, m, shots=count, paraphrase=n) for t, m, n in axes]

    def ours() -> None:
        local = LocalModel("bench", method, "", train)
        for _, own in itertools.groupby(cells, key=lambda s: s.template):
            local.answer([local.ask(s, asked, shots) for s in own])

    def one_by_one() -> None:
        for cell in cells:
            _alone(method, cell, train, shots).predict(asked, batch_size=1)

    def in_batches() -> None:
        for cell in cells:
            _alone(method, cell, train, shots).predict(asked)

    name = f"{len(cells)} cells of prompts{what}, {CLIPS} clips, shared against"
    ratio(f"{name} one by one", ours, one_by_one, rounds=2)
    ratio(f"{name} the recipes' own batches", ours, in_batches, rounds=2)


def _alone(method: Any, cell: Any, train: Sequence[Any], shots: Any) -> Any:
    """Return the method of one cell as a recipe makes it, on the network that is there."""
    from textualize.evaluate.settings import template_of
    from textualize.text.causal import TextLLM
    from textualize.text.demonstrations import Demonstrations, solved_of
    from textualize.text.prompts import PromptReader

    labels = method.label_set
    reader = PromptReader(template_of(cell), labels.labels)
    made = TextLLM(method.net, method.tokenizer, reader, labels, method.recipe)
    if shots is not None:
        writes = dict(zip(labels.labels, labels.labels, strict=True))
        solved = solved_of(train, reader.texts(train), labels)
        made.demonstrations = Demonstrations(solved, shots, writes, 0)
    return made


if __name__ == "__main__":
    prompts()
