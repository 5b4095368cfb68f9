"""text-llm: a causal model answers with a label's words; every label is scored exactly.

Trained on the answer's tokens alone and read by the same quantity: the log-probability of each
label's tokens and the end token behind them, summed, then a softmax over the labels. Nothing is
generated, so nothing has to be parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from textualize.errors import TextualizeError
from textualize.finetune.recipe import TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.text import models, predict, scoring
from textualize.text.answers import answer_ids, fitted_ids
from textualize.text.decision import load_bias
from textualize.text.prompts import PromptReader
from textualize.text.scratch import scratch_model, scratch_tokenizer
from textualize.types import Prediction, Record

Item = dict[str, Any]
IGNORED = -100  # the label of every token that is not learned


class TextLLM:
    """A trained (or starting) causal model with what it needs to read and answer records."""

    method = "text-llm"

    def __init__(self, net: Any, tokenizer: Any, reader: PromptReader, labels: LabelSet):
        """Put the parts together; `limit`, in tokens, leaves room for the longest answer."""
        self.net = net
        self.tokenizer = tokenizer
        self.reader = reader
        self.label_set = labels
        self.answers = [answer_ids(tokenizer, label) for label in labels.labels]
        self.tree = scoring.label_tree(self.answers)
        self.limit = 0
        self.truncated = 0
        self.bias = np.zeros(len(labels))
        self.notes: list[str] = []

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of every score vector."""
        return self.label_set.labels

    def _limited(self, recipe: TextRecipe) -> TextLLM:
        reserve = max(len(answer) for answer in self.answers)
        self.limit, note = models.fitting(recipe, self.net.config, self.tokenizer, reserve)
        self.notes += [note] if note else []
        window = getattr(self.net.config, "sliding_window", None)
        if window is not None and window < self.limit + reserve:
            raise TextualizeError(
                f"model '{recipe.model}' attends to {window} tokens only: labels cannot be scored "
                f"behind longer prompts; set max_tokens to at most {window - reserve}"
            )
        return self

    @classmethod
    def build(cls, recipe: TextRecipe, labels: LabelSet, records: Sequence[Record]) -> TextLLM:
        """Return an untrained method; `records` teach a scratch model's tokenizer its words.

        Raises:
            TextualizeError: quantised weights were asked to be trained in full, or a model from
                scratch to be quantised.
        """
        reader = PromptReader.of(recipe, labels.labels)
        if recipe.model == "scratch":
            return cls._scratch(recipe, labels, reader, records)
        if recipe.lora is None and recipe.quantization != "none":
            raise TextualizeError("quantised weights cannot be trained in full: set lora, or none")
        source = models.find_model(recipe.model, recipe.revision)
        net = models.load_base(AutoModelForCausalLM, source, recipe)
        if recipe.lora is not None:
            net = models.add_lora(net, recipe.lora, "CAUSAL_LM")
        tokenizer = models.load_tokenizer(source.place, source.revision, side="left")
        return cls(net, tokenizer, reader, labels)._limited(recipe)

    @classmethod
    def _scratch(
        cls, recipe: TextRecipe, labels: LabelSet, reader: PromptReader, records: Sequence[Record]
    ) -> TextLLM:
        if recipe.quantization != "none" or recipe.dtype != "float32":
            raise TextualizeError(
                "a model from scratch trains in float32 without quantization; given "
                f"{recipe.dtype}, {recipe.quantization}"
            )
        texts = [*reader.texts(records), *(f"\nAnswer: {label}" for label in labels.labels)]
        tokenizer = scratch_tokenizer(texts, recipe.scratch.vocabulary)
        longest = max(len(answer_ids(tokenizer, label)) for label in labels.labels)
        net = scratch_model(recipe.scratch, tokenizer, recipe.max_tokens + longest)
        made = cls(net, tokenizer, reader, labels)._limited(recipe)
        made.notes.append(
            "trained from scratch: a small LLaMA that knows nothing but the training prompts; "
            "it shows the path, not what a pretrained model reaches"
        )
        if recipe.lora is not None:
            made.notes.append("lora ignored: a model from scratch is trained in full")
        return made

    def save(self, run: Path) -> None:
        """Write adapter/ or model/, and prompt/, into the run folder."""
        kind = "adapter" if models.is_adapted(self.net) else "model"
        models.save_network(self.net, self.tokenizer, run / kind)
        self.reader.save(run)

    @classmethod
    def load(cls, run: Path) -> TextLLM:
        """Return the trained method of a run folder.

        Raises:
            TextualizeError: the folder is unfinished, or the base's weights are not those it was
                trained on.
        """
        folder = RunFolder(run)
        recipe = models.stored_recipe(folder)
        net, tokenizer = models.load_trained(AutoModelForCausalLM, folder, recipe, "left")
        reader = PromptReader.of_run(Path(run), folder.labels.labels)
        net.eval()
        made = cls(net, tokenizer, reader, folder.labels)._limited(recipe)
        made.bias = load_bias(Path(run), made.labels)
        return made

    # --- used ---------------------------------------------------------------------------------

    def items(self, texts: Sequence[str]) -> list[Item]:
        """Return one item of token ids a text; the beginning of a longer one is cut and counted."""
        items = []
        for text in texts:
            ids, cut = fitted_ids(self.tokenizer, text, self.limit)
            self.truncated += cut
            items.append({"input_ids": ids})
        return items

    def answered(self, items: Sequence[Item], classes: Sequence[int]) -> list[Item]:
        """Return training items: prompt and answer in a row, its answer's length, its class."""
        return [
            {
                "input_ids": [*item["input_ids"], *self.answers[c]],
                "answer": len(self.answers[c]),
                "class": c,
            }
            for item, c in zip(items, classes, strict=True)
        ]

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Return a batch, left-padded: ids, mask, positions, labels (B, N), classes (B,).

        Labels carry the answer's tokens and its end token; all else is IGNORED.
        """
        ids, mask = scoring.left_pad(
            [i["input_ids"] for i in items], int(self.tokenizer.pad_token_id)
        )
        labels = torch.full_like(ids, IGNORED)
        for row, item in enumerate(items):
            labels[row, -item["answer"] :] = ids[row, -item["answer"] :]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": scoring.positions(mask),
            "labels": labels,
            "class": torch.tensor([item["class"] for item in items]),
        }

    def losses(self, net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return -log P(answer | prompt) of every item, summed over its tokens, (B,)."""
        labels = batch["labels"]
        keep = int((labels != IGNORED).sum(1).max()) + 1  # the head runs on the answers only
        logits = net(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            position_ids=batch["position_ids"],
            use_cache=False,
            logits_to_keep=keep,
        ).logits
        scores, wanted = logits[:, -keep:-1].float(), labels[:, -keep + 1 :]
        each = nn.functional.cross_entropy(
            scores.transpose(1, 2), wanted, ignore_index=IGNORED, reduction="none"
        )
        return each.sum(1)

    def log_scores(self, items: Sequence[Item]) -> Tensor:
        """Return log P(label | prompt) of one batch, (B, C) float64 on the CPU."""
        prompts = [item["input_ids"] for item in items]
        return scoring.label_log_probs(self.net, self.tokenizer, prompts, self.tree)

    def scoring_error(self, items: Sequence[Item]) -> float:
        """Return the largest difference between tree scores and whole-sequence scores."""
        prompts = [item["input_ids"] for item in items]
        whole = scoring.sequence_log_probs(self.net, self.tokenizer, prompts, self.answers)
        return float((self.log_scores(items) - whole).abs().max())

    def predict(self, records: Sequence[Record], batch_size: int = 16) -> list[Prediction]:
        """Return one prediction a record, in the same order, whatever the batch size."""
        return predict.predictions(self, records, batch_size)
