"""What the numbers of a report rest on beside its predictions, kept in its folder.

    trainings.jsonl  what each training says of itself: minutes, speed, parameters, validation
    weakened.jsonl   what methods answer without a modality
    material.jsonl   each clip's group, subject, split, label, file, digests of text and media
    folds.json       the clip ids of every part

Of a text only a digest is kept: it tells that two clips say the same, not what they say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from textualize.datasets.given import PARTS, Fold, fold_json
from textualize.errors import TextualizeError
from textualize.evaluate.lines import Training, trained_from_json
from textualize.evaluate.material import Material, Said
from textualize.evaluate.weaken import Lost
from textualize.files import read_lines, write_json_atomic, write_text_atomic
from textualize.store import clip_from_json, clip_json
from textualize.types import Clip

TRAININGS = "trainings.jsonl"
WEAKENED = "weakened.jsonl"
MATERIAL = "material.jsonl"
FOLDS = "folds.json"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The trainings, the answers without a modality, what is known of the clips, and the folds."""

    trainings: Sequence[Training] = ()
    lost: Sequence[Lost] = ()
    material: Material | None = None
    folds: Sequence[Fold] = ()


NOTHING = Evidence()


def write_evidence(folder: Path, given: Evidence) -> tuple[str, ...]:
    """Write what there is; return the names of the files. Files of an earlier report are removed.

    Raises StorageError where it cannot be written.
    """
    lines: dict[str, list[Mapping[str, Any]]] = {
        TRAININGS: [asdict(t) for t in given.trainings],
        WEAKENED: [asdict(one) for one in given.lost],
        MATERIAL: _material_lines(given.material) if given.material else [],
    }
    for name, own in lines.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in own)
        _put(folder / name, text)
    if given.folds:
        write_json_atomic(folder / FOLDS, {"folds": [fold_json(f) for f in given.folds]})
    else:
        _put(folder / FOLDS, "")
    return tuple(n for n in (*lines, FOLDS) if (folder / n).is_file())


def _put(path: Path, text: str) -> None:
    if text:
        write_text_atomic(path, text)
    else:
        path.unlink(missing_ok=True)


def _material_lines(material: Material) -> list[Mapping[str, Any]]:
    return [
        {
            **{k: v for k, v in clip_json(_bare(clip)).items() if v or v == 0},
            "said": asdict(material.said(name)),
            "media": material.media.get(name, ""),
        }
        for name, clip in sorted(material.clips.items())
    ]


def _bare(clip: Clip) -> Clip:
    """The clip without its texts, and of its file the name and the folder it is in."""
    video = Path(*clip.video.parts[-2:]) if clip.video else None
    return replace(
        clip, video=video, group=clip.fold_group, transcript=None, context=(), sidecars={}
    )


def read_evidence(folder: Path) -> Evidence:
    """Return what `write_evidence` wrote; empty where a file is not there.

    Raises:
        TextualizeError: a file is damaged.
    """
    trainings = [
        Training(x["name"], x["seed"], trained_from_json(x["trained"]))
        for x in _lines(folder / TRAININGS, ("name", "seed", "trained"))
    ]
    lost = [
        Lost(**{**x, "shares": tuple(x["shares"])})
        for x in _lines(folder / WEAKENED, tuple(Lost.__dataclass_fields__))
    ]
    lines = list(_lines(folder / MATERIAL, ("id", "said", "media")))
    material = Material(
        {x["id"]: clip_from_json(x) for x in lines},
        {x["id"]: Said(**x["said"]) for x in lines},
        {x["id"]: x["media"] for x in lines if x["media"]},
    )
    return Evidence(trainings, lost, material if lines else None, _folds(folder / FOLDS))


def _lines(path: Path, keys: Sequence[str]) -> Iterable[dict[str, Any]]:
    if not path.is_file():
        return
    for number, text in enumerate(read_lines(path), 1):
        try:
            line = json.loads(text)
            lack = [key for key in keys if key not in line]
        except (ValueError, TypeError) as error:
            raise TextualizeError(f"{path}:{number} is damaged: {error}") from None
        if lack:
            raise TextualizeError(f"{path}:{number} is damaged: it has no '{lack[0]}'")
        yield line


def _folds(path: Path) -> list[Fold]:
    if not path.is_file():
        return []
    try:
        given = json.loads(path.read_text("utf-8"))["folds"]
        return [_fold(f) for f in given]
    except (ValueError, LookupError, TypeError) as error:
        raise TextualizeError(f"{path} is damaged: {error}") from None


def _fold(value: Mapping[str, Any]) -> Fold:
    parts = (tuple(value[p]) for p in PARTS)
    about = {k: tuple(value.get(k, ())) for k in ("leaks", "unlabelled")}
    return Fold(value["name"], *parts, **about)
