"""text-llm: a causal model answers with a label's words or letter; every label is scored exactly.

Trained on the answer's tokens alone and read by the same quantity: the log-probability of each
label's tokens and the end token behind them (of its letter's tokens alone), summed, then a softmax
over the labels. Nothing is generated, so nothing has to be parsed. With epochs 0 a pretrained model
is used as it is, with or without demonstrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from textualize.errors import TextualizeError
from textualize.finetune.recipe import Shots, TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.text import models, predict, scoring
from textualize.text.answers import Shot, answer_ids, answer_texts, fitted_ids, options, prompt_ids
from textualize.text.decision import Decision
from textualize.text.demonstrations import Demonstrations, Solved, load_solved, solved_of
from textualize.text.prompts import PromptReader, check_reading, save_reading
from textualize.text.scratch import scratch_model, scratch_tokenizer
from textualize.types import Prediction, Record
from textualize.weights.models import find_model

Item = dict[str, Any]
IGNORED = -100  # the label of every token that is not learned
SCRATCH_TOKENS = 512  # longest prompt of a model from scratch where the recipe gives none


class TextLLM:
    """A trained (or starting) causal model with what it needs to read and answer records."""

    method = "text-llm"
    batch_size = 16

    def __init__(
        self, net: Any, tokenizer: Any, reader: PromptReader, labels: LabelSet, recipe: TextRecipe
    ):
        """Put the parts together; `limit`, in tokens, leaves room for the longest answer."""
        self.net = net
        self.tokenizer = tokenizer
        self.reader = reader
        self.label_set = labels
        self.recipe = recipe
        self.answer_texts = answer_texts(labels.labels, recipe.answers)
        self.answers = [answer_ids(tokenizer, text, recipe.answers) for text in self.answer_texts]
        self.tree = scoring.label_tree(self.answers)
        self.truncated = 0
        self.decision = Decision.neutral(len(labels))
        self.demonstrations: Demonstrations | None = None
        self.notes: list[str] = []
        self.limit = self._limit()
        template = tokenizer.chat_template or ""
        if "strftime_now" in template and "date_string" not in template:
            self.notes.append("the model's chat template writes today's date into every prompt")

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of every score vector."""
        return self.label_set.labels

    def _limit(self) -> int:
        reserve = max(len(answer) for answer in self.answers)
        limit, note = models.fitting(self.recipe, self.net.config, self.tokenizer, reserve)
        self.notes += [note] if note else []
        window = getattr(self.net.config, "sliding_window", None)
        if window is not None and window < limit + reserve:
            raise TextualizeError(
                f"model '{self.recipe.model}' attends to {window} tokens only: labels cannot be "
                f"scored behind longer prompts; set max_tokens to at most {window - reserve}"
            )
        return limit

    @classmethod
    def build(cls, recipe: TextRecipe, labels: LabelSet, records: Sequence[Record]) -> TextLLM:
        """Return an untrained method; `records` teach a scratch model's tokenizer its words.

        Raises:
            TextualizeError: quantised weights were asked to be trained in full, a model from
                scratch to be quantised, or letters whose meaning the template does not tell.
        """
        reader = PromptReader.of(recipe, options(labels.labels, recipe.answers))
        if not reader.lists_options and (recipe.answers == "letters" or recipe.epochs == 0):
            raise TextualizeError(
                f"template '{recipe.template}' does not list the labels, so the model cannot know "
                "what to answer: give one that does, as compound, or train it on words"
            )
        made = cls._untrained(recipe, labels, reader, records)
        if recipe.shots is not None:
            solved = solved_of(records, reader.texts(records), labels)
            made._demonstrate(solved, recipe.shots)
            made.notes.append(
                f"prompts hold {recipe.shots.count} solved training examples; the run keeps all "
                f"{len(solved)} training prompts, words included, to choose them from"
            )
        return made

    @classmethod
    def _untrained(
        cls, recipe: TextRecipe, labels: LabelSet, reader: PromptReader, records: Sequence[Record]
    ) -> TextLLM:
        if recipe.model == "scratch":
            return cls._scratch(recipe, labels, reader, records)
        if recipe.lora is None and recipe.quantization != "none" and recipe.epochs:
            raise TextualizeError("quantised weights cannot be trained in full: set lora, or none")
        source = find_model(recipe.model, recipe.revision)
        net = models.load_base(AutoModelForCausalLM, source, recipe)
        if recipe.lora is not None:
            net = models.add_lora(net, recipe.lora, "CAUSAL_LM")
        if recipe.epochs == 0:
            net.requires_grad_(False)
        tokenizer = models.load_tokenizer(source.place, source.revision, side="left")
        return cls(net, tokenizer, reader, labels, recipe)

    def _demonstrate(self, solved: Sequence[Solved], shots: Shots) -> None:
        writes = dict(zip(self.labels, self.answer_texts, strict=True))
        self.demonstrations = Demonstrations(solved, shots, writes, self.recipe.seed)

    @classmethod
    def _scratch(
        cls, recipe: TextRecipe, labels: LabelSet, reader: PromptReader, records: Sequence[Record]
    ) -> TextLLM:
        if recipe.quantization != "none" or recipe.dtype != "float32":
            raise TextualizeError(
                "a model from scratch trains in float32 without quantization; given "
                f"{recipe.dtype}, {recipe.quantization}"
            )
        answers = answer_texts(labels.labels, recipe.answers)
        texts = [*reader.texts(records), *(f"\nAnswer: {answer}" for answer in answers)]
        tokenizer = scratch_tokenizer(texts, recipe.scratch.vocabulary)
        longest = max(len(answer_ids(tokenizer, answer, recipe.answers)) for answer in answers)
        room = recipe.max_tokens or SCRATCH_TOKENS
        net = scratch_model(recipe.scratch, tokenizer, room + longest)
        made = cls(net, tokenizer, reader, labels, recipe)
        made.notes.append(
            "trained from scratch: a small LLaMA that knows nothing but the training prompts; "
            "it shows the path, not what a pretrained model reaches"
        )
        if recipe.lora is not None:
            made.notes.append("lora ignored: a model from scratch is trained in full")
        return made

    def save(self, run: Path) -> None:
        """Write adapter/ or model/, and prompt/, into the run folder.

        Of a model that was not trained only the tokenizer is kept, in tokenizer/.
        """
        if self.recipe.epochs == 0:
            self.tokenizer.save_pretrained(str(run / "tokenizer"))
        else:
            kind = "adapter" if models.is_adapted(self.net) else "model"
            models.save_network(self.net, self.tokenizer, run / kind)
        self.reader.save(run)
        save_reading(run, self.tokenizer, self.answers)
        if self.demonstrations is not None:
            self.demonstrations.save(run)

    @classmethod
    def load(cls, run: Path, *, weights: bool = True) -> TextLLM:
        """Return the trained method of a run folder; without `weights` it reads, and cannot score.

        Raises:
            TextualizeError: the folder is unfinished, or the base's weights, the template or the
                tokenizer are not those it was trained with.
        """
        folder = RunFolder(run)
        recipe = models.stored_recipe(folder)
        net, tokenizer = models.load_trained(
            AutoModelForCausalLM, folder, recipe, "left", weights=weights
        )
        reader = PromptReader.of_run(folder.path, options(folder.labels.labels, recipe.answers))
        net.eval()
        made = cls(net, tokenizer, reader, folder.labels, recipe)
        check_reading(folder.path, tokenizer, made.answers)
        made.decision = Decision.load(folder.path, made.labels)
        if recipe.shots is not None:
            made._demonstrate(load_solved(folder.path), recipe.shots)
        return made

    # --- used ---------------------------------------------------------------------------------

    def length(self, text: str, shots: Sequence[Shot] = ()) -> int:
        """Return the tokens of a prompt in its frame, its demonstrations before it."""
        return len(prompt_ids(self.tokenizer, text, shots))

    def items(self, texts: Sequence[str], shots: Sequence[Sequence[Shot]] = ()) -> list[Item]:
        """Return one item of token ids a text, its demonstrations before it.

        The beginning of a text that alone is longer than `limit` is cut and counted.
        """
        items = []
        for text, solved in zip(texts, shots or [()] * len(texts), strict=True):
            ids = prompt_ids(self.tokenizer, text, solved)
            if len(ids) > self.limit:
                ids, _ = fitted_ids(self.tokenizer, text, self.limit)
                self.truncated += 1
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
        twice = self.log_scores([items[0]] * 2) - whole[:1]  # nearly all of it is shared
        return max(float((self.log_scores(items) - whole).abs().max()), float(twice.abs().max()))

    def predict(self, records: Sequence[Record], batch_size: int = batch_size) -> list[Prediction]:
        """Return one prediction a record, in the same order, whatever the batch size."""
        return predict.predictions(self, records, batch_size)
