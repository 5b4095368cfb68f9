"""Pictures, sound and text through a pretrained network: arrays in, vectors out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textualize.errors import TextualizeError
from textualize.extract.embeddings.pretrained import Pretrained
from textualize.extract.sound import SAMPLE_RATE
from textualize.types import Float32

BLOCK_S = 30.0  # of sound at once, context included: what Whisper takes, and 1500 positions
CONTEXT_SHARE = 0.1  # of a block, before and after: 3 s
SHORTEST_S = 0.5  # shorter sound is filled up with silence: convolutions need some length
TOKENS = 512  # of text at once, even where a network takes more
SLIMMEST = 20  # ratio of sides; resizing the short side of a line of pixels takes gigabytes


def frames_at_once(model: Pretrained) -> int:
    """Return how many frames a network reads together, 0 for one that reads pictures."""
    return int(getattr(model.net.config, "num_frames", 0))


def pixels(model: Pretrained, rgb: NDArray[np.uint8]) -> Float32:
    """Return a picture (H, W, 3) as the model takes it, (3, h, w).

    Raises:
        TextualizeError: the picture is next to a line, or the model would cut it up.
    """
    high, wide = rgb.shape[:2]
    if max(high, wide) > SLIMMEST * min(high, wide):
        raise TextualizeError(
            f"a picture of {wide}x{high} pixels is a line, not a picture: "
            f"give video whose sides differ less than {SLIMMEST} times"
        )
    made = model.processor(rgb, return_tensors="np", input_data_format="channels_last")
    values = np.asarray(made["pixel_values"], np.float32)
    shape = values.shape[-3:]
    if values.size != math.prod(shape):
        raise TextualizeError(
            f"model '{model.name}' cuts a picture into several: give one that reads it whole"
        )
    return values.reshape(shape)


def see(model: Pretrained, pictures: Float32) -> Float32:
    """Return the vectors (B, D) of pictures (B, 3, h, w) or of clips of them (B, T, 3, h, w)."""
    output = model(pixel_values=pictures)
    pooled = _pooled(model, output)
    if pooled is not None:
        return _numbers(pooled.flatten(1))
    hidden = output.last_hidden_state  # (B, tokens, D), or (B, D, h, w) of a convolution
    return _numbers(hidden.mean(1) if hidden.ndim == 3 else hidden.flatten(2).mean(2))


def block_length(model: Pretrained, window: float) -> tuple[float, float]:
    """Return how much sound is read at once and its context on either side, in seconds.

    Context is 0 for networks of spectrogram patches: a block is a window, or an equal part of it.
    """
    if _in_patches(model):
        most = 0.01 * getattr(model.processor, "max_length", 1000)  # frames of 10 ms
        return window / math.ceil(window / most - 1e-9), 0.0
    most = min(BLOCK_S, float(getattr(model.processor, "chunk_length", BLOCK_S)))
    return (1 - 2 * CONTEXT_SHARE) * most, CONTEXT_SHARE * most


def hear(model: Pretrained, blocks: Sequence[Float32]) -> tuple[Float32, float]:
    """Return vectors (B, T, D) of equally long sounds, and how many samples the T cover.

    T is 1 for networks of spectrogram patches.
    """
    short = max(0, round(SHORTEST_S * SAMPLE_RATE) - len(blocks[0]))
    sounds = [np.pad(b, (0, short)) for b in blocks]
    patches, length = _in_patches(model), float(len(sounds[0]))
    asked = {} if patches else {"return_attention_mask": True}
    made = model.processor(sounds, sampling_rate=SAMPLE_RATE, return_tensors="np", **asked)
    name = model.net.main_input_name
    output = model(**{name: np.asarray(made[name], np.float32)})
    hidden = output.last_hidden_state
    if patches:
        pooled = _pooled(model, output)
        return _numbers(hidden.mean(1) if pooled is None else pooled)[:, None], length
    mask = made["attention_mask"][0]  # what the extractor filled up (Whisper: to 30 s) is not heard
    return _numbers(hidden), length * len(mask) / float(mask.sum())


def tokens(
    model: Pretrained, text: str
) -> tuple[list[list[int]], list[NDArray[np.bool_]], list[NDArray[np.int64]]]:
    """Return a text's token ids in overlapping rows, which tokens count, where each ends in it.

    Half of each overlap counts in either row, so that every token counts once and, but for the
    text's ends, with context on both sides. Special tokens do not count.
    """
    tokenizer = model.processor
    # RoBERTa counts positions from its padding token's: two fewer than stated
    takes = (getattr(model.net.config, "max_position_embeddings", None) or TOKENS) - 2
    most = min(TOKENS, tokenizer.model_max_length, takes)
    half = most // 8
    made = tokenizer(
        text,
        truncation=True,
        max_length=most,
        stride=2 * half,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    specials = made["special_tokens_mask"]
    counting = []
    for i, special in enumerate(specials):
        own = np.flatnonzero(np.asarray(special) == 0)[half if i else 0 :]
        own = own[: len(own) - half] if i + 1 < len(specials) else own
        counting.append(np.isin(np.arange(len(special)), own))
    ends = [np.array([end for _, end in row], np.int64) for row in made["offset_mapping"]]
    return made["input_ids"], counting, ends


def equal_rows(rows: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Yield the indices of neighbouring rows of equal length, at most so many at once.

    >>> list(equal_rows([[1, 2], [3, 4], [5, 6], [7]], 2))
    [[0, 1], [2], [3]]
    """
    for _, same in groupby(range(len(rows)), key=lambda i: len(rows[i])):
        indices = list(same)
        for first in range(0, len(indices), most):
            yield indices[first : first + most]


def understand(model: Pretrained, rows: Sequence[Sequence[int]]) -> Float32:
    """Return the last layer's vectors (B, T, D) of equally long rows of token ids."""
    return _numbers(model(input_ids=np.array(rows, np.int64)).last_hidden_state)


def _in_patches(model: Pretrained) -> bool:
    """True for networks of sound that cut a spectrogram in time and frequency (AST)."""
    return hasattr(model.net.config, "patch_size")


def _pooled(model: Pretrained, output: Any) -> Any:
    return getattr(output, "pooler_output", None) if model.pooler else None


def _numbers(values: Any) -> Float32:
    made: Float32 = values.float().cpu().numpy()
    return made
