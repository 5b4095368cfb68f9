"""Weights and tokenizers of text methods: how they are opened, adapted and kept.

Weights are read from safetensors only, and always in the dtype the recipe names: transformers 5
otherwise follows the checkpoint, and bfloat16 on a CPU is several times slower.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as quiet

from textualize.errors import TextualizeError, first_line
from textualize.files import read_json
from textualize.finetune.recipe import Lora, TextRecipe, parse
from textualize.finetune.run_folder import RunFolder
from textualize.weights.models import Source, find_model, weights_digest

_PEFT_NOISE = ".*is_gradient_checkpointing.*"  # peft 0.21 asks transformers 5 by the old name


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
        line = first_line(error)
        raise TextualizeError(f"model '{source.name}' does not load: {line}") from None
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
        line = first_line(error)
        raise TextualizeError(f"lora.targets {lora.targets!r} do not fit: {line}") from None


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


def load_trained(
    auto: Any, run: RunFolder, recipe: TextRecipe, side: str, *, weights: bool = True
) -> tuple[Any, Any]:
    """Return the network and tokenizer of a run folder.

    Without `weights` the network is its outline, on the device "meta": enough to read prompts
    where another program holds the weights.

    Raises:
        TextualizeError: training did not finish, or the base's weights are others than those the
            adapter was trained on.
    """
    whole, adapter = run.path / "model", run.path / "adapter"
    opened = load_base if weights else _outline
    if whole.is_dir():
        source = Source(str(whole), str(whole), whole, None)
        return opened(auto, source, recipe), load_tokenizer(source.place, side=side)
    untrained = run.path / "tokenizer"
    if not adapter.is_dir() and not untrained.is_dir():
        raise TextualizeError(f"{run.path} has no weights: training did not finish, run it again")
    source = find_model(recipe.model, recipe.revision)
    base = opened(auto, source, recipe)
    _check_weights(run, source)
    if untrained.is_dir() or not weights:
        return base, load_tokenizer(str(untrained if untrained.is_dir() else adapter), side=side)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _PEFT_NOISE, FutureWarning)
        net = PeftModel.from_pretrained(base, str(adapter))
    return net, load_tokenizer(str(adapter), side=side)


def _outline(auto: Any, source: Source, recipe: TextRecipe) -> Any:
    config = AutoConfig.from_pretrained(source.place, revision=source.revision)
    with torch.device("meta"):
        return auto.from_config(config, dtype=getattr(torch, recipe.dtype))


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
