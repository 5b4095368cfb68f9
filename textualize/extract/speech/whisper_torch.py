"""Whisper through transformers: tokens by beam search, word times by cross-attention.

Times and probabilities of words come from a second pass over the finished text (as in OpenAI's
package): it costs one run of the decoder, and memory for one chunk's attention, not for every
step and beam of the search.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from librosa.sequence import dtw
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from transformers import (
    AutoTokenizer,
    GenerationMixin,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor
from transformers.modeling_outputs import BaseModelOutput

from textualize.errors import TextualizeError
from textualize.extract.sound import SAMPLE_RATE
from textualize.extract.speech.listening import Said, batch_for, cut, said_by
from textualize.types import Float32, Span

UNSPACED = {"zh", "yue", "ja", "th", "lo", "my"}  # languages written without spaces
FRAME_S = 0.02  # of the encoder's output, and of a time token
_SMOOTH = 7  # frames of the median filter over attention


Heard = tuple[float, float, str, float]  # start, end, text, probability of a word


class _Segment(NamedTuple):
    start: float
    end: float
    tokens: list[int]


class Transcriber:
    """A Whisper checkpoint of transformers, loaded, that recognises chunks of half a minute."""

    def __init__(self, folder: Path, beam: int, batch: int, device: str) -> None:
        """Load a folder; raises what transformers raises, TextualizeError without time tokens."""
        name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        kind = torch.float32 if name == "cpu" else torch.float16
        self._model: Any = WhisperForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=kind
        )
        self._model.to(name).eval()
        self._extract = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._config = copy.deepcopy(self._model.generation_config)
        if getattr(self._config, "no_timestamps_token_id", None) is None:
            raise TextualizeError(f"'{folder}' is not a Whisper that gives times")
        self._config.update(
            num_beams=beam,
            do_sample=False,
            max_length=None,
            max_new_tokens=self._model.config.max_target_positions // 2,  # as in both others
            return_timestamps=True,
            forced_decoder_ids=None,
        )
        self._batch = batch or batch_for(name)
        self._codes = {
            token.strip("<|>"): number
            for token, number in (getattr(self._config, "lang_to_id", None) or {}).items()
        }

    @property
    def languages(self) -> list[str]:
        """Codes of the languages the model knows."""
        return list(self._codes) or ["en"]

    @torch.inference_mode()
    def hear(self, samples: Float32, chunks: list[Span], language: str | None) -> Iterator[Said]:
        """Yield what is said in chunks of a stretch; the first says the language if not given."""
        for start in range(0, len(chunks), self._batch):
            some = chunks[start : start + self._batch]
            features = self._features([cut(samples, c) for c in some])
            states = self._model.get_encoder()(features).last_hidden_state
            language, no_speech = self._first_token(states, language)
            for i, tokens in enumerate(self._search(states, self._prompt(language))):
                yield from self._chunk(some[i], states[i : i + 1], tokens, language, no_speech[i])

    def _features(self, pieces: Sequence[Float32]) -> torch.Tensor:
        made = self._extract(list(pieces), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        features = made.input_features
        for row, piece in zip(features, pieces, strict=True):
            row[:, len(piece) // self._extract.hop_length :] = 0.0  # as OpenAI pads: not silence
        return features.to(self._model.device, self._model.dtype)  # type: ignore[no-any-return]

    def _first_token(self, states: torch.Tensor, given: str | None) -> tuple[str, list[float]]:
        """Return the language of the first chunk and each chunk's probability of no speech."""
        sot = torch.full((len(states), 1), self._config.decoder_start_token_id)
        chances = self._logits(states, sot.to(states.device))[:, 0].softmax(-1)
        # The token before <|notimestamps|>, whatever its name (<|nospeech|>, <|nocaptions|>).
        no_speech = chances[:, self._config.no_timestamps_token_id - 1].tolist()
        if given or not self._codes:
            return given or "en", no_speech
        codes = list(self._codes)
        best = chances[0, [self._codes[code] for code in codes]].argmax()
        return codes[int(best)], no_speech

    def _logits(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        encoded = BaseModelOutput(last_hidden_state=states)
        made = self._model(encoder_outputs=encoded, decoder_input_ids=tokens)
        return made.logits.float()  # type: ignore[no-any-return]

    def _prompt(self, language: str) -> list[int]:
        start = [self._config.decoder_start_token_id]
        if not self._codes:
            return start
        task = self._tokenizer.convert_tokens_to_ids("<|transcribe|>")
        return [*start, self._codes[language], task]

    def _search(self, states: torch.Tensor, prompt: list[int]) -> list[list[int]]:
        """Return each chunk's tokens, time tokens included, without prompt and end."""
        # The search itself: Whisper's own `generate` would encode again and go on in windows.
        made = GenerationMixin.generate(
            self._model,
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=states.new_ones(states.shape[:2], dtype=torch.long),
            decoder_input_ids=torch.tensor([prompt] * len(states), device=states.device),
            generation_config=self._config,
            logits_processor=[WhisperTimeStampLogitsProcessor(self._config, len(prompt))],
        )
        end = self._config.eos_token_id
        return [
            list(itertools.takewhile(lambda t: t != end, row[len(prompt) :]))
            for row in made.tolist()
        ]

    def _chunk(
        self, chunk: Span, state: torch.Tensor, tokens: list[int], language: str, no_speech: float
    ) -> Iterator[Said]:
        first_time = self._config.no_timestamps_token_id + 1
        end = self._config.eos_token_id
        segments = [
            segment._replace(tokens=[t for t in segment.tokens if t < end])
            for segment in split_by_time(tokens, first_time, chunk.duration)
        ]
        text = [token for segment in segments for token in segment.tokens]
        if not text:
            return
        times, logprobs = self._align(state, text, language, chunk.duration)
        at = 0
        for segment in segments:
            words: list[Heard] = []
            for group in words_of(segment.tokens, self._decode, language not in UNSPACED):
                beyond = at + len(group)
                chance = float(np.exp(logprobs[at:beyond]).mean())
                words.append((times[at], times[beyond], self._decode(group), chance))
                at = beyond
            words = without_pause(words)
            about = {
                "start": words[0][0] if words else segment.start,
                "end": words[-1][1] if words else segment.end,
                "text": self._decode(segment.tokens),
                "avg_logprob": float(logprobs.mean()),
                "no_speech_prob": no_speech,
            }
            yield said_by(chunk, about, words, language, chunk.start)

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False))

    def _align(
        self, state: torch.Tensor, text: list[int], language: str, seconds: float
    ) -> tuple[list[float], NDArray[np.float64]]:
        """Return when each token begins (one more: when the last ends), and log-probabilities.

        The latter include the end token's.
        """
        prompt = self._prompt(language)
        limit = self._model.config.max_target_positions - len(prompt) - 2
        known = text[:limit]
        row = [*prompt, self._config.no_timestamps_token_id, *known, self._config.eos_token_id]
        tokens = torch.tensor([row], device=state.device)
        attention, logits = self._attention(state, tokens)
        # Among text tokens and the end, as time tokens are not asked for here.
        logprobs = logits[0, len(prompt) : -1, : self._config.eos_token_id + 1].log_softmax(-1)
        chosen = logprobs.gather(-1, tokens[0, len(prompt) + 1 :, None])[:, 0]
        frames = max(1, min(attention.shape[-1], round(seconds / FRAME_S)))
        heard = attention[:, :, :frames]  # what goes to the padding is not the speech's
        times = aligned((heard / heard.sum(-1, keepdim=True)).cpu().numpy(), len(prompt))
        lost = len(text) - len(known)
        return times + [times[-1]] * lost, np.pad(chosen.cpu().double().numpy(), (0, lost))

    def _attention(
        self, state: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the alignment heads' cross-attention (heads, tokens, frames), and logits."""
        before = self._model.config._attn_implementation
        self._model.set_attn_implementation("eager")  # the others do not give their weights
        made = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=state),
            decoder_input_ids=tokens,
            output_attentions=True,
        )
        self._model.set_attn_implementation(before)
        layers = made.cross_attentions
        heads = getattr(self._config, "alignment_heads", None) or [
            (layer, head)  # OpenAI's default: all heads of the upper half
            for layer in range(len(layers) // 2, len(layers))
            for head in range(layers[layer].shape[1])
        ]
        return torch.stack([layers[i][0, h].float() for i, h in heads]), made.logits.float()


def split_by_time(tokens: Sequence[int], first_time: int, seconds: float) -> list[_Segment]:
    """Return the segments that time tokens (those from `first_time` on) cut a chunk into.

    >>> [tuple(s) for s in split_by_time([100, 7, 8, 150, 150, 9], 100, 5.0)]
    [(0.0, 1.0, [7, 8]), (1.0, 5.0, [9])]
    """
    found: list[_Segment] = []
    start, held = 0.0, list[int]()
    for token in tokens:
        if token < first_time:
            held.append(token)
            continue
        time = (token - first_time) * FRAME_S
        if held:
            found.append(_Segment(start, time, held))
            held = []
        start = time
    return [*found, _Segment(start, seconds, held)] if held else found


def words_of(
    tokens: Sequence[int], decode: Callable[[list[int]], str], spaced: bool
) -> list[list[int]]:
    """Return tokens grouped into words.

    A word begins at a space, or, where a language has none, at each letter that is complete.
    """
    letters: list[list[int]] = []
    for token in tokens:  # one letter may need several tokens
        if letters and "\ufffd" in decode(letters[-1]):
            letters[-1].append(token)
        else:
            letters.append([token])
    words: list[list[int]] = []
    for letter in letters:
        text = decode(letter)
        begins = text.startswith(" ") if spaced else any(c.isalnum() for c in text)
        if words and not begins:
            words[-1].extend(letter)
        else:
            words.append(letter)
    return words


def without_pause(words: Sequence[Heard]) -> list[Heard]:
    """Return a segment's words, the first cut to twice the median length of all.

    The silence before a segment is aligned to its first word (OpenAI's `timing.py` does the same).

    >>> without_pause([(0.0, 9.0, "so", 1.0), (9.0, 9.5, "we", 1.0), (9.5, 10.0, "go", 1.0)])[0]
    (8.0, 9.0, 'so', 1.0)
    """
    lengths = [end - start for start, end, _, _ in words if end > start]
    if not lengths:
        return list(words)
    start, end, text, chance = words[0]
    longest = 2 * min(0.7, float(np.median(lengths)))
    return [(max(start, end - longest), end, text, chance), *words[1:]]


def aligned(attention: NDArray[np.float32], prompt: int) -> list[float]:
    """Return when each text token begins, seconds, and when the last ends.

    Attention is (heads, tokens, frames) of prompt, <|notimestamps|>, text and end; dynamic time
    warping over its mean, each head standardised over tokens and smoothed over frames (as in
    OpenAI's `timing.py`).
    """
    deviation = attention.std(axis=1, keepdims=True)
    scaled = (attention - attention.mean(axis=1, keepdims=True)) / np.maximum(deviation, 1e-9)
    smooth = median_filter(scaled, size=(1, 1, _SMOOTH), mode="mirror")
    cost = -smooth.mean(axis=0)[prompt:-1]
    _, path = dtw(C=cost.astype(np.float64))
    rows, frames = path[::-1].T
    first = np.searchsorted(rows, np.arange(len(cost)))
    return [float(t) for t in frames[first] * FRAME_S]
