"""What the numbers of a report rest on beside its predictions, kept in its folder.

    trainings.jsonl  what each training says of itself: minutes, speed, parameters, validation
    weakened.jsonl   what methods answer without a modality
    material.jsonl   each clip's group, subject, split, label, file, digests of text and media
    folds.json       the clip ids of every part

Of a text only a digest is kept: it tells that two clips say the same, not what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from textualize.datasets.given import PARTS, Fold, fold_json
from textualize.errors import TextualizeError
from textualize.evaluate.lines import Training, trained_from_json
from textualize.evaluate.material import Material, Said
from textualize.evaluate.weaken import Lost
from textualize.files import Json, read_json, read_jsonl, write_json_atomic, write_jsonl_atomic
from textualize.store import clip_from_json, clip_json
from textualize.types import Clip

T = TypeVar("T")

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
    written = [name for name, own in lines.items() if own] + [FOLDS] * bool(given.folds)
    for name in (*lines, FOLDS):
        if name not in written:
            (folder / name).unlink(missing_ok=True)
        elif name == FOLDS:
            write_json_atomic(folder / FOLDS, {"folds": [fold_json(f) for f in given.folds]})
        else:
            write_jsonl_atomic(folder / name, lines[name])
    return tuple(written)


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
    trainings = _read(folder / TRAININGS, _training)
    lost = _read(folder / WEAKENED, lambda x: Lost(**{**x, "shares": tuple(x["shares"])}))
    clips = _read(folder / MATERIAL, _clip)
    material = Material(
        {clip.id: clip for clip, _, _ in clips},
        {clip.id: said for clip, said, _ in clips},
        {clip.id: media for clip, _, media in clips if media},
    )
    return Evidence(trainings, lost, material if clips else None, _folds(folder / FOLDS))


def _read(path: Path, read: Callable[[Json], T]) -> list[T]:
    return read_jsonl(path, "evidence of the report", read) if path.is_file() else []


def _training(line: Json) -> Training:
    return Training(line["name"], line["seed"], trained_from_json(line["trained"]))


def _clip(line: Json) -> tuple[Clip, Said, str]:
    return clip_from_json(line), Said(**line["said"]), line["media"]


def _folds(path: Path) -> list[Fold]:
    if not path.is_file():
        return []
    try:
        return [_fold(f) for f in read_json(path, "folds of the report")["folds"]]
    except (ValueError, LookupError, TypeError) as error:
        raise TextualizeError(f"{path} is damaged: {error}") from None


def _fold(value: Mapping[str, Any]) -> Fold:
    parts = (tuple(value[p]) for p in PARTS)
    about = {k: tuple(value.get(k, ())) for k in ("leaks", "unlabelled")}
    return Fold(value["name"], *parts, **about)
