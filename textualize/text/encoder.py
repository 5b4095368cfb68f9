"""text-encoder: a pretrained network's hidden states, pooled, and a linear head of our own.

The base is any encoder (BERT, ModernBERT) or decoder (LLaMA) of `transformers`. A run keeps a
stock PEFT adapter of the bare network in `adapter/` (or the whole network in `model/`) and the
head beside it in `head.safetensors`. Pooling goes by the attention mask, never by a padding id.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn
from transformers import AutoModel

from textualize.errors import TextualizeError
from textualize.files import write_bytes_atomic
from textualize.finetune.recipe import TextRecipe
from textualize.finetune.run_folder import RunFolder
from textualize.labels import LabelSet
from textualize.text import models, predict
from textualize.text.answers import Shot
from textualize.text.decision import Decision
from textualize.text.demonstrations import Demonstrations
from textualize.text.prompts import PromptReader, check_reading, save_reading
from textualize.types import Prediction, Record
from textualize.weights.models import find_model

Pooling = Literal["mean", "cls", "last", "last_line"]
Item = dict[str, Any]


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Return one vector a row, (B, D), from hidden states (B, T, D) and a mask (B, T) of 0/1.

    "mean" averages the unmasked tokens, "cls" takes the first, "last" the last of them; where
    the padding stands makes no difference. "last_line" is "mean" with a mask of that line.

    >>> h = torch.tensor([[[9.0], [1.0], [3.0]]])
    >>> pool(h, torch.tensor([[0, 1, 1]]), "mean").item()
    2.0
    """
    if pooling in ("mean", "last_line"):
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
    order = torch.arange(mask.shape[1], device=mask.device)
    if pooling == "cls":
        index = mask.argmax(1)
    else:
        index = (mask * (order + 1)).argmax(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), index]


def last_line_mask(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    r"""Return 1 for every token from the first of the text's last line on, 0 for those before it.

    `offsets` are the tokens' spans in characters, empty for special tokens. If the line was cut
    off, the last token stands for it.

    >>> last_line_mask("a b\nc", [(0, 0), (0, 1), (2, 3), (4, 5), (0, 0)])
    [0, 0, 0, 1, 1]
    """
    start = text.rfind("\n") + 1
    own = (i for i, (a, b) in enumerate(offsets) if a >= start and b > a)
    first = next(own, len(offsets) - 1)
    return [int(i >= first) for i in range(len(offsets))]


class EncoderNet(nn.Module):
    """A base network, dropout and a linear head; logits are float32 whatever the base is.

    Pooled vectors are brought to unit variance first: their scale differs tenfold between
    encoders, and with it how fast a head learns.
    """

    def __init__(self, base: Any, width: int, classes: int, pooling: Pooling, dropout: float = 0.1):
        super().__init__()
        self.base = base
        self.pooling: Pooling = pooling
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pooled_mask: Tensor | None = None,
        **kinds: Tensor,
    ) -> Tensor:
        """Return logits (B, C) of token ids, mask and the mask of what is pooled, each (B, T)."""
        hidden = self.base(
            input_ids=input_ids, attention_mask=attention_mask, **kinds
        ).last_hidden_state
        mask = attention_mask if pooled_mask is None else pooled_mask
        pooled = self.norm(pool(hidden.float(), mask, self.pooling))
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


class TextEncoder:
    """A trained (or starting) encoder with what it needs to read records."""

    method = "text-encoder"
    batch_size = 32

    def __init__(
        self, net: EncoderNet, tokenizer: Any, reader: PromptReader, labels: LabelSet, limit: int
    ):
        """Put the parts together; `limit` is the longest prompt in tokens, specials included."""
        self.net = net
        self.tokenizer = tokenizer
        self.reader = reader
        self.label_set = labels
        self.limit = limit
        self.truncated = 0
        self.decision = Decision.neutral(len(labels))
        self.demonstrations: Demonstrations | None = None
        self.notes: list[str] = []

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of every score vector."""
        return self.label_set.labels

    # --- made and kept ------------------------------------------------------------------------

    @classmethod
    def build(cls, recipe: TextRecipe, labels: LabelSet) -> TextEncoder:
        """Return an untrained method: pretrained base, fresh adapter and head.

        Raises:
            TextualizeError: the recipe asks for "scratch", or to train quantised weights in full.
        """
        if recipe.model == "scratch":
            raise TextualizeError(
                "text-encoder cannot start from scratch: give a pretrained model "
                "(minilm, a folder, a hub id), or use method text-llm"
            )
        if recipe.lora is None and recipe.quantization != "none":
            raise TextualizeError("quantised weights cannot be trained in full: set lora, or none")
        source = find_model(recipe.model, recipe.revision)
        base = models.load_base(AutoModel, source, recipe)
        if recipe.lora is not None:
            base = models.add_lora(base, recipe.lora, "FEATURE_EXTRACTION")
        tokenizer = models.load_tokenizer(source.place, source.revision)
        reader = PromptReader.of(recipe)
        return cls._assembled(base, tokenizer, reader, labels, recipe)

    @classmethod
    def _assembled(
        cls, base: Any, tokenizer: Any, reader: PromptReader, labels: LabelSet, recipe: TextRecipe
    ) -> TextEncoder:
        _take_pooler_off(base)
        if base.config.is_encoder_decoder:
            raise TextualizeError(
                f"model '{recipe.model}' has an encoder and a decoder: give one of the two kinds"
            )
        if recipe.pooling == "cls" and any(getattr(m, "is_causal", False) for m in base.modules()):
            raise TextualizeError(
                f"pooling cls reads the first token, which sees no other in decoder "
                f"'{recipe.model}': set pooling to last or mean"
            )
        if recipe.pooling == "last_line" and not tokenizer.is_fast:
            raise TextualizeError(
                f"the tokenizer of '{recipe.model}' does not tell where its tokens stand, which "
                "pooling last_line needs: set pooling to mean"
            )
        config = base.config
        net = EncoderNet(base, int(config.hidden_size), len(labels), recipe.pooling)
        net.head.to(next(base.parameters()).device)
        limit, note = models.fitting(recipe, config, tokenizer)
        made = cls(net, tokenizer, reader, labels, limit)
        made.notes += [note] if note else []
        return made

    def save(self, run: Path) -> None:
        """Write adapter/ or model/, head.safetensors and prompt/ into the run folder."""
        kind = "adapter" if models.is_adapted(self.net.base) else "model"
        models.save_network(self.net.base, self.tokenizer, run / kind)
        head = {
            name: t.detach().cpu().contiguous() for name, t in self.net.head.state_dict().items()
        }
        about = {"pooling": json.dumps(self.net.pooling), "labels": json.dumps(self.labels)}
        write_bytes_atomic(run / "head.safetensors", tensor_bytes(head, about))
        self.reader.save(run)
        save_reading(run, self.tokenizer)

    @classmethod
    def load(cls, run: Path, *, weights: bool = True) -> TextEncoder:
        """Return the trained method of a run folder; without `weights` it reads, and cannot score.

        Raises:
            TextualizeError: the folder is unfinished, or the base's weights are not those it was
                trained on.
        """
        folder = RunFolder(run)
        recipe = models.stored_recipe(folder)
        base, tokenizer = models.load_trained(AutoModel, folder, recipe, "right", weights=weights)
        check_reading(Path(run), tokenizer)
        reader = PromptReader.of_run(Path(run))
        made = cls._assembled(base, tokenizer, reader, folder.labels, recipe)
        if weights:
            made.net.head.load_state_dict(load_file(str(Path(run) / "head.safetensors")))
        made.net.eval()
        made.decision = Decision.load(Path(run), made.labels)
        return made

    # --- used ---------------------------------------------------------------------------------

    def length(self, text: str, shots: Sequence[Shot] = ()) -> int:
        """Return the tokens of a text, specials included; an encoder takes no demonstrations."""
        return len(self.tokenizer(text, verbose=False)["input_ids"])

    def items(self, texts: Sequence[str], shots: Sequence[Sequence[Shot]] = ()) -> list[Item]:
        """Return one item of token ids a text; the end of a longer text is cut and counted."""
        by_line = self.net.pooling == "last_line"
        rows = self.tokenizer(list(texts), return_offsets_mapping=by_line)
        items = []
        for i, text in enumerate(texts):
            item = {name: rows[name][i] for name in rows}
            if len(item["input_ids"]) > self.limit:
                self.truncated += 1
                cut = {"truncation": True, "max_length": self.limit}
                item = dict(self.tokenizer(text, return_offsets_mapping=by_line, **cut))
            if by_line:
                item["pooled_mask"] = last_line_mask(text, item.pop("offset_mapping"))
            items.append(item)
        return items

    def answered(self, items: Sequence[Item], classes: Sequence[int]) -> list[Item]:
        """Return training items: each with its class."""
        return [{**item, "class": c} for item, c in zip(items, classes, strict=True)]

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Return a batch padded to its own longest item; classes (B,) where items have them."""
        ours = ("class", "pooled_mask")
        rows = [{k: v for k, v in item.items() if k not in ours} for item in items]
        batch = dict(self.tokenizer.pad(rows, return_tensors="pt"))
        if "pooled_mask" in items[0]:
            masks = [torch.tensor(item["pooled_mask"]) for item in items]
            batch["pooled_mask"] = nn.utils.rnn.pad_sequence(
                masks, batch_first=True, padding_side=self.tokenizer.padding_side
            )
        if "class" in items[0]:
            batch["class"] = torch.tensor([item["class"] for item in items])
        return batch

    def losses(self, net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return the cross entropy of every item, (B,)."""
        inputs = {k: v for k, v in batch.items() if k != "class"}
        return nn.functional.cross_entropy(net(**inputs), batch["class"], reduction="none")

    @torch.inference_mode()
    def log_scores(self, items: Sequence[Item]) -> Tensor:
        """Return log-probabilities of one batch, (B, C) float64 on the CPU."""
        device = self.net.head.weight.device
        batch = {k: v.to(device) for k, v in self.collate(items).items()}
        logits: Tensor = self.net(**batch)
        return logits.double().cpu().log_softmax(-1)

    def predict(self, records: Sequence[Record], batch_size: int = batch_size) -> list[Prediction]:
        """Return one prediction a record, in the same order, whatever the batch size."""
        return predict.predictions(self, records, batch_size)


def _take_pooler_off(base: Any) -> None:
    """Remove what nothing reads: it would never get a gradient."""
    inner = base.get_base_model() if models.is_adapted(base) else base
    if getattr(inner, "pooler", None) is not None:
        inner.pooler = None
