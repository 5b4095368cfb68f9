"""Networks of `transformers` that read pictures, sound or text: found, checked, loaded.

A model is a folder or a hub id ("minilm" is the one inside an ordinary package). Weights are read
from safetensors only, never from pickles, and code that comes with a model is never run. The part
of a model that reads what is asked for is kept: the vision tower of CLIP, the encoder of Whisper.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from textualize.errors import TextualizeError, first_line, missing_package
from textualize.extract.sound import SAMPLE_RATE
from textualize.files import digest_of

try:
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel, AutoTokenizer
    from transformers.utils import logging as chatter

    from textualize.weights.models import (
        Source,
        blob_digest,
        find_model,
        weights_digest,
    )
except ModuleNotFoundError as missing:
    raise missing_package("a pretrained sensor", str(missing.name), "finetune") from None

Kind = Literal["vision", "audio", "text"]

_READS = {
    "pixel_values": "vision",
    "input_values": "audio",
    "input_features": "audio",
    "input_ids": "text",
}
_MATERIAL = {"vision": "pictures", "audio": "sound", "text": "text"}
_PROCESSORS = {
    "vision": ("preprocessor_config.json", "processor_config.json"),
    "audio": ("preprocessor_config.json", "processor_config.json"),
    "text": (
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "tokenizer.model",
        "spiece.model",
        "sentencepiece.bpe.model",
    ),
}
DOWNLOADED = ["*.json", "*.txt", "*.model", "model.safetensors", "model-*.safetensors"]
UNREAD = ("masked_spec_embed", "mask_token", "mask_emb")  # tensors only training reads
LOAD_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    ImportError,
    LookupError,
    TypeError,
    AttributeError,
    SafetensorError,
    StrictDataclassError,
)


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """A network that reads one kind of material, and what it takes to feed it.

    `pooler` is False where the file has no weights for the network's own pooling. `identity`
    holds what, besides `weights` (sha256), makes it this model: name, revision (a commit, ""
    for a folder), digest of its configuration files.
    """

    name: str
    net: Any
    processor: Any
    device: torch.device
    pooler: bool
    weights: str
    identity: dict[str, str | float | int | bool | None]

    def __call__(self, **inputs: NDArray[Any]) -> Any:
        """Return the network's output for arrays by the names it takes."""
        with torch.inference_mode():
            return self.net(**{k: torch.from_numpy(v).to(self.device) for k, v in inputs.items()})


def load_pretrained(name: str, kind: Kind, device: str = "cpu", revision: str = "") -> Pretrained:
    """Return a model in float32 on a device, in evaluation mode.

    Raises:
        TextualizeError: no such model here, one of another kind, weights that are missing,
            pickled or incomplete, a processor or device that does not work here.
    """
    source = find_model(name, revision, files=DOWNLOADED)
    weights = weights_digest(source.folder, name)
    place = device_of(device)
    net, pooler = _network(source.folder, name, kind)
    processor = load_processor(source.folder, name, kind)
    identity = identity_of(source, kind)
    try:
        net.to(place)
    except (RuntimeError, AssertionError) as error:  # an AssertionError where CUDA is not built in
        raise TextualizeError(
            f"model '{name}' does not go on device '{device}': {first_line(error)}; give device=cpu"
        ) from None
    return Pretrained(name, net, processor, place, pooler, weights, identity)


def identity_of(source: Source, kind: Kind) -> dict[str, str | float | int | bool | None]:
    """Return what, besides its weights, makes a model this one; see `Pretrained`."""
    is_folder = Path(source.name).expanduser().is_dir()
    files = [source.folder / n for n in ("config.json", *_PROCESSORS[kind])]
    return {
        # a folder's path says nothing about its content, and differs between machines
        "model": source.folder.resolve().name if is_folder else source.name,
        "revision": "" if is_folder else source.commit,
        "configuration": digest_of({f.name: blob_digest(f) for f in files if f.is_file()}),
    }


def _network(folder: Path, name: str, kind: Kind) -> tuple[Any, bool]:
    """Return the part of a model that reads `kind`, and whether its pooler has weights."""
    try:
        with quietly():
            whole, info = AutoModel.from_pretrained(
                str(folder),
                use_safetensors=True,
                dtype=torch.float32,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except LOAD_ERRORS as error:
        raise TextualizeError(f"model '{name}' does not load: {first_line(error)}") from None
    net = _part(whole, kind)
    reads = _READS.get(net.main_input_name, net.main_input_name)
    if reads != kind:
        known = f": it is for {reads}-model" if reads in _MATERIAL else ""
        raise TextualizeError(
            f"model '{name}' ({type(net).__name__}) does not read {_MATERIAL[kind]}{known}"
        )
    gaps = _gaps(whole, net, info["missing_keys"])
    needed = [g for g in gaps if "pooler" not in g]
    if needed:
        raise TextualizeError(
            f"model '{name}' has no weights for {len(needed)} of its tensors (first: "
            f"{needed[0]}): give the complete model"
        )
    return net.eval(), not gaps


def _part(whole: Any, kind: Kind) -> Any:
    """Return the tower of a model of several modalities, the encoder of one that also decodes."""
    config = whole.config
    if kind == "vision" and hasattr(config, "vision_config"):
        return whole.get_encoder("image")
    if kind == "audio" and hasattr(config, "audio_config"):
        return whole.get_encoder("audio")
    if kind == "text" and hasattr(whole, "text_model"):
        return whole.text_model
    # Only here: an encoder-only model's `encoder` is its layers without the embeddings.
    return whole.get_encoder() if getattr(config, "is_encoder_decoder", False) else whole


def _gaps(whole: Any, net: Any, absent: set[str]) -> list[str]:
    """Return the names of the part's tensors that were drawn at random for lack of weights."""
    read = {id(t) for t in (*net.parameters(), *net.buffers())}
    named = {**dict(whole.named_parameters()), **dict(whole.named_buffers())}
    return sorted(key for key in absent if id(named.get(key)) in read and not key.endswith(UNREAD))


def load_processor(folder: Path, name: str, kind: Kind) -> Any:
    """Return the image processor (always PIL's where there is one), extractor or tokenizer."""
    auto, options = {
        "vision": (AutoImageProcessor, {"backend": "pil"}),
        "audio": (AutoFeatureExtractor, {}),
        "text": (AutoTokenizer, {}),
    }[kind]
    files = _PROCESSORS[kind]
    if not any((folder / n).is_file() for n in files):
        raise TextualizeError(
            f"model '{name}' has no {files[0]}: copy it from the model it was made from"
        )
    try:
        with quietly():
            processor = auto.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True, **options
            )
    except LOAD_ERRORS as error:
        if "torchvision" in str(error):
            raise TextualizeError(
                f"the image processor of '{name}' needs torchvision: pip install torchvision"
            ) from None
        raise TextualizeError(
            f"the {files[0]} of '{name}' does not load: {first_line(error)}"
        ) from None
    rate = getattr(processor, "sampling_rate", SAMPLE_RATE)
    if kind == "audio" and rate != SAMPLE_RATE:
        raise TextualizeError(
            f"model '{name}' hears at {rate} Hz and sound is read at {SAMPLE_RATE}: "
            f"give a model for {SAMPLE_RATE} Hz"
        )
    if kind == "text":
        processor.truncation_side = "right"
    if kind == "text" and not processor.is_fast:
        raise TextualizeError(
            f"the tokenizer of '{name}' does not say where its tokens are: give a tokenizer.json"
        )
    return processor


def device_of(name: str) -> torch.device:
    """Return a device by name; raises TextualizeError for none that torch knows."""
    try:
        return torch.device(name)
    except RuntimeError:
        raise TextualizeError(f"no device '{name}': give cpu, cuda, cuda:1, …") from None


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers from drawing bars and warning of heads that are left out on purpose."""
    level, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(level)
        if bars:
            chatter.enable_progress_bar()
