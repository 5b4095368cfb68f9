"""A checkpoint that answers about a voice: found, checked, and loaded with its trained head.

A head that the file has no weights for would be drawn at random and answer all the same: it is
refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textualize.errors import TextualizeError, first_line, missing_package
from textualize.extract.embeddings import pretrained

try:
    import torch
    from safetensors import SafetensorError, safe_open
    from torch import nn
    from transformers import (
        AutoConfig,
        AutoModelForAudioClassification,
        Wav2Vec2Config,
        Wav2Vec2Model,
        Wav2Vec2PreTrainedModel,
    )
    from transformers.modeling_outputs import SequenceClassifierOutput

    from textualize.weights.models import find_model, weights_digest
except ModuleNotFoundError as missing:
    raise missing_package("the affect-model sensor", str(missing.name), "finetune") from None


class PooledHead(nn.Module):
    """Dense, tanh, linear: (B, D) to (B, C)."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the outputs, (B, C)."""
        out: torch.Tensor = self.out_proj(torch.tanh(self.dense(states)))
        return out


class PooledWav2Vec2(Wav2Vec2PreTrainedModel):  # type: ignore[misc]
    """wav2vec2, the mean of its last layer over time, and a `PooledHead`."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        self.wav2vec2 = Wav2Vec2Model(config)
        self.classifier = PooledHead(config)
        self.post_init()

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Return the outputs of sounds of equal length (B, T) as `logits`, (B, C)."""
        states = self.wav2vec2(input_values, attention_mask=attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=self.classifier(states.mean(dim=1)))


def load_affect(
    name: str, labels: tuple[str, ...], device: str, revision: str
) -> pretrained.Pretrained:
    """Return a checkpoint with its head, in float32 on a device, and its feature extractor.

    `labels` name the outputs in order; () takes the checkpoint's own names. Raises
    TextualizeError: no such model here, weights that are missing, pickled or untrained, another
    number of labels than outputs.
    """
    source = find_model(name, revision, files=pretrained.DOWNLOADED)
    weights = weights_digest(source.folder, name)
    place = pretrained.device_of(device)
    net = _network(source.folder, name, labels)
    processor = pretrained.load_processor(source.folder, name, "audio")
    identity = pretrained.identity_of(source, "audio")
    try:
        net.to(place)
    except (RuntimeError, AssertionError) as error:  # an AssertionError where CUDA is not built in
        line = first_line(error)
        raise TextualizeError(
            f"model '{name}' does not go on device '{device}': {line}; give device=cpu"
        ) from None
    return pretrained.Pretrained(name, net, processor, place, True, weights, identity)


@torch.inference_mode()
def answer(net: Any, inputs: Any) -> torch.Tensor:
    """Return a loaded network's outputs, unscaled, (B, C) float32."""
    logits: torch.Tensor = net(**inputs).logits.float()
    return logits


def _network(folder: Path, name: str, labels: tuple[str, ...]) -> Any:
    tensors = _tensor_shapes(folder)
    pooled = "classifier.out_proj.weight" in tensors
    heads = ("classifier.out_proj.weight", "classifier.weight", "classifier.dense.weight")
    head = next((tensors[key] for key in heads if key in tensors), None)
    if head is None:
        raise TextualizeError(
            f"model '{name}' has no head that answers (classifier): give a checkpoint trained on "
            "emotions, or use audio-model for its vectors"
        )
    if labels and len(labels) != head[0]:
        raise TextualizeError(
            f"model '{name}' has {head[0]} outputs; given {len(labels)} labels: {'/'.join(labels)}"
        )
    try:
        with pretrained.quietly():
            config = AutoConfig.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            )
            if labels:
                config.id2label = dict(enumerate(labels))
            elif config.num_labels != head[0]:
                config.num_labels = head[0]  # and the outputs have no names
            kind = _pooled_kind(config, name) if pooled else AutoModelForAudioClassification
            net, info = kind.from_pretrained(
                str(folder),
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
            )
    except pretrained.LOAD_ERRORS as error:
        line = first_line(error)
        raise TextualizeError(f"model '{name}' does not load: {line}") from None
    untrained = sorted(k for k in info["missing_keys"] if not k.endswith(pretrained.UNREAD))
    if untrained:
        raise TextualizeError(
            f"model '{name}' has no weights for {len(untrained)} of its tensors (first: "
            f"{untrained[0]}): give the complete model"
        )
    return net.eval()


def _pooled_kind(config: Any, name: str) -> type[PooledWav2Vec2]:
    pooling = getattr(config, "pooling_mode", "mean")
    if not isinstance(config, Wav2Vec2Config) or pooling != "mean":
        raise TextualizeError(
            f"model '{name}' has a head of dense layers over {config.model_type} ({pooling}); "
            "known is the one over the mean of wav2vec2"
        )
    return PooledWav2Vec2


def _tensor_shapes(folder: Path) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(str(file), "np") as tensors:
                shapes |= {key: tensors.get_slice(key).get_shape() for key in tensors.keys()}
        except (OSError, SafetensorError) as error:
            line = first_line(error)
            raise TextualizeError(f"cannot read {file}: {line}; copy it again") from None
    return shapes
